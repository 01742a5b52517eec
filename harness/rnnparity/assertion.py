"""`assert_parity`: one comparison inside anybody's own test, in the same process."""

import inspect
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from rnnparity import api, borders, contract, inputs
from rnnparity.borders import FRAMEWORKS
from rnnparity.diagnosis import explain_failure
from rnnparity.errors import UsageError
from rnnparity.execution import Outcome, execute
from rnnparity.problems import build
from rnnparity.reference import reference
from rnnparity.settings import Settings
from rnnparity.verdict import Judgement, judge


def assert_parity(
    implementation: Any,
    *,
    weights: Any,
    x: Any = None,
    h0: Any = None,
    lengths: Any = None,
    framework: str | None = None,
    device: str = "cpu",
    dtype: str | None = None,
    nonlinearity: str = "tanh",
    batch_first: bool = False,
    prefix: str | None = None,
) -> None:
    """Assert that an implementation is the recurrence of `torch.nn.RNN` on these weights.

    Outputs, final states and, where the implementation has them, gradients are judged against the
    recurrence in higher precision.

    Args:
        implementation: a module or object with the names of the contract, or a function: `layer(x,
            h0, cell, nonlinearity)`, or `rnn(x, h0, weights, config, lengths)`.
        weights: a `torch.nn.RNN`, a state dict, or the path of a weights file.
        x: input, laid out as `torch.nn.RNN` takes it; drawn (T = 32, B = 4) if None.
        h0: initial state; zeros if None and x is given.
        lengths: steps that count in each sequence; all if None.
        framework: "numpy", "jax" or "torch"; found out from the implementation's module or from x.
        device: one of the framework's, as `rnnparity list` shows them.
        dtype: what to compute in; the weights' own if None.
        nonlinearity: of the weights, which names and shapes do not tell.
        batch_first: likewise.
        prefix: as `rnnparity.check`.

    Raises:
        AssertionError: it is not; the message has the verdict, the diagnosis and every quantity.
        UsageError: something given cannot be used.
    """
    __tracebackhide__ = True
    settings = Settings()
    loaded = _loaded(implementation, framework, x)
    with tempfile.TemporaryDirectory() as folder:
        told = {"nonlinearity": nonlinearity, "batch_first": batch_first}
        kept, config, own = api.keep(weights, told, Path(folder), prefix)
        case = inputs.case(kept, config, dtype or own, Path(folder), x, h0, lengths)
        border = borders.get(loaded.framework, settings)
        against = reference(case)
        outcome = execute(loaded, border, case, against.problem, device)
        judgement = judge(case, outcome, against)
        if judgement.verdict == "fail" and judgement.quantities:

            def run(probe: Any) -> Outcome:
                return execute(loaded, border, probe, build(probe), device)

            judgement, _ = explain_failure(case, judgement, outcome, against, run)
    if judgement.verdict not in ("pass", "chaotic"):
        raise AssertionError(_message(loaded, device, case.id, judgement))


def _loaded(implementation: Any, framework: str | None, x: Any) -> contract.Implementation:
    name = str(getattr(implementation, "__name__", type(implementation).__name__))
    if callable(implementation) and not hasattr(implementation, "layer"):
        home = sys.modules.get(getattr(implementation, "__module__", ""))
        framework = framework or getattr(home, "framework", None) or _of_array(x)
        if framework not in FRAMEWORKS:
            raise UsageError(
                f"whose arrays {name} takes is not known: give framework=, one of "
                f"{', '.join(FRAMEWORKS)}"
            )
        whole = len(inspect.signature(implementation).parameters) == 5
        kind = "rnn" if whole else "layer"
        implementation = SimpleNamespace(framework=framework, **{kind: implementation})
    try:
        return contract.from_object(name, implementation)
    except contract.BrokenImplementation as error:
        raise UsageError(f"{name}: {error}") from None


def _of_array(x: Any) -> str | None:
    root = type(x).__module__.partition(".")[0]
    return {"jaxlib": "jax"}.get(root, root) if x is not None else None


def _message(loaded: contract.Implementation, device: str, case: str, judgement: Judgement) -> str:
    lines = [f"{loaded.name} ({loaded.framework} on {device}, {case})"]
    lines.append(f"{judgement.verdict}: {judgement.reason}")
    for name, quantity in judgement.quantities.items():
        z = "inf" if quantity.z is None else f"{quantity.z:.3g}"
        error = quantity.max_abs_error
        largest = np.inf if error is None else error
        lines.append(f"  {name:24} {z:>8} units, at most {largest:.3g}, at {quantity.index}")
    return "\n".join(lines)
