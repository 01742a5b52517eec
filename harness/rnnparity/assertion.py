"""`assert_parity`, `assert_outputs`: one comparison inside anybody's own test, in its process."""

import inspect
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from rnnparity.errors import UsageError
from rnnparity.implementations import contract, frameworks
from rnnparity.implementations.execution import execute, run_times
from rnnparity.implementations.frameworks import FRAMEWORKS
from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.settings import Settings, threads_given
from rnnparity.judging.assess import assess
from rnnparity.judging.outputs import assess_outputs
from rnnparity.judging.reference import reference
from rnnparity.judging.verdict import Judgement
from rnnparity.problems.cases import Case
from rnnparity.problems.given import Sequences, Weights, keep
from rnnparity.problems.given import case as case_of
from rnnparity.problems.outputs import case_of_outputs


def assert_parity(
    implementation: Any,
    *,
    weights: Any,
    x: Any = None,
    h0: Any = None,
    c0: Any = None,
    lengths: Any = None,
    framework: str | None = None,
    device: str = "cpu",
    dtype: str | None = None,
    nonlinearity: str | None = None,
    batch_first: bool | None = None,
    prefix: str | None = None,
) -> None:
    """Assert that an implementation is the recurrence of torch's `nn.RNN`, `GRU` or `LSTM`.

    Of which kind the weights are is found out.

    Outputs, final states and, where the implementation has them, gradients are judged against the
    recurrence in higher precision.

    Args:
        implementation: a module or object with the names of the contract, or a function: `layer(x,
            h0, cell, nonlinearity)`, of a GRU `layer(x, h0, cell)`, of an LSTM `layer(x, h0, c0,
            cell)`, or `rnn(x, h0, weights, config, lengths)`. One of a
            module that has a `prepare` stands for the module.
        weights: a `torch.nn.RNN`, `GRU` or `LSTM`, a state dict, or the path of a weights file.
        x: input, laid out as `torch.nn.RNN` takes it; drawn (T = 32, B = 4) if None.
        h0: initial state; zeros if None and x is given.
        c0: of an LSTM, with h0.
        lengths: steps that count in each sequence; all if None.
        framework: "numpy", "jax" or "torch"; found out from the implementation's module or from x.
        device: one of the framework's, as `rnnparity list` shows them.
        dtype: what to compute in; the weights' own if None.
        nonlinearity: of the weights, where they do not tell; tanh if None.
        batch_first: whether x is `[B, T, I]`, where the weights do not tell; time first if None.
        prefix: what the layer's names begin with, where `weights` holds several.

    Raises:
        AssertionError: it is not; the message has the verdict, the diagnosis and every quantity.
        UsageError: something given cannot be used.
    """
    __tracebackhide__ = True
    settings = Settings(threads=threads_given())
    with tempfile.TemporaryDirectory() as folder:
        kept = keep(Weights(weights, prefix, nonlinearity, batch_first), Path(folder))
        kind = kept.config.kind
        loaded = _loaded(implementation, framework, x, kind)
        case = case_of(kept, Sequences(x, h0, lengths, c0), Path(folder), dtype)
        border = frameworks.imported(loaded.framework, settings)
        if device not in border.devices():
            there = ", ".join(border.devices())
            raise UsageError(f"no device {device!r} for {loaded.framework} here: there is {there}")

        def fresh(probe: Case, *, times: int = 1, gradients: bool = False) -> list[Outcome] | None:
            with _once_more(implementation) as again:
                if again is None:
                    return None
                anew = _loaded(again, framework, x, kind)
                return run_times(anew, border, probe, device, times, gradients)

        against = reference(case)
        with frameworks.as_set(border, settings):
            outcome = execute(loaded, border, case, against.problem, device)
            judgement = assess(case, outcome, against, fresh).judgement
    if not judgement.verdict.is_right:
        what = f"{loaded.name} ({loaded.framework} on {device})"
        raise AssertionError(_message(what, case.id, judgement))


def assert_outputs(
    output: Any = None,
    h_n: Any = None,
    c_n: Any = None,
    *,
    weights: Any,
    x: Any,
    h0: Any = None,
    c0: Any = None,
    lengths: Any = None,
    dtype: str | None = None,
    nonlinearity: str | None = None,
    batch_first: bool | None = None,
    prefix: str | None = None,
    settings: Settings | None = None,
) -> None:
    """Assert that outputs are those of torch's `nn.RNN`, `GRU` or `LSTM`, whoever computed them.

    A port in another language needs no wrapper: what it wrote is judged against the recurrence in
    higher precision, in units of what rounding alone can do.

    Args:
        output: of every step, `[T, B, D * H]`, or laid out as x is: an array of NumPy, torch or
            JAX, or the path of a `.npy`, `.npz`, `.safetensors` or CSV file. At least one of
            output, h_n and c_n is given.
        h_n: the last states, `[L * D, B, H]`.
        c_n: an LSTM's.
        weights: a `torch.nn.RNN`, `GRU` or `LSTM`, a state dict, or the path of a weights file.
        x: the input that the port was given.
        h0: its initial state; zeros if None.
        c0: an LSTM's, with h0.
        lengths: the steps that count in each sequence; all if None.
        dtype: what the port computed in; if None, the coarser of the weights' and the outputs'.
        nonlinearity: of the weights, where they do not tell; tanh if None.
        batch_first: whether x and output are `[B, T, features]`, where the weights do not tell;
            time first if None.
        prefix: what the layer's names begin with, where `weights` holds several.
        settings: what is declared besides the dtype: a precision of products, an error of tanh.

    Raises:
        AssertionError: they are not; the message has the verdict, the diagnosis and every quantity.
        UsageError: something given cannot be used.
    """
    __tracebackhide__ = True
    inputs = {"x": x, "h0": h0, "c0": c0, "lengths": lengths}
    outputs = {"output": output, "h_n": h_n, "c_n": c_n}
    with tempfile.TemporaryDirectory() as folder:
        kept = keep(Weights(weights, prefix, nonlinearity, batch_first), Path(folder))
        case, given, notes = case_of_outputs(
            kept,
            {name: value for name, value in inputs.items() if value is not None},
            {name: value for name, value in outputs.items() if value is not None},
            Path(folder),
            dtype,
        )
        judgement = assess_outputs(case, given, settings)[0].judgement
    if not judgement.verdict.is_right:
        raise AssertionError("\n".join([_message("outputs", case.id, judgement), *notes]))


def _loaded(
    implementation: Any, framework: str | None, x: Any, kind: str
) -> contract.Implementation:
    name = str(getattr(implementation, "__name__", type(implementation).__name__))
    if not hasattr(implementation, "layer") and not hasattr(implementation, "rnn"):
        home = sys.modules.get(getattr(implementation, "__module__", None) or "")
        own = (getattr(home, "layer", None), getattr(home, "rnn", None))
        if hasattr(home, "prepare") and implementation in own:
            return _loaded(home, framework, x, kind)
        framework = framework or getattr(home, "framework", None) or _of_array(x)
        if framework not in FRAMEWORKS:
            raise UsageError(
                f"whose arrays {name} takes is not known: give framework=, one of "
                f"{', '.join(FRAMEWORKS)}"
            )
        told = {_part(name, implementation, kind): implementation}
        implementation = SimpleNamespace(framework=framework, kind=kind, **told)
    try:
        return contract.from_object(name, implementation)
    except contract.BrokenImplementation as error:
        raise UsageError(f"{name}: {error}") from None


@contextmanager
def _once_more(implementation: Any) -> Iterator[Any]:
    """Import an implementation anew; None where it is nothing that can be imported by its name."""
    is_module = isinstance(implementation, ModuleType)
    name = implementation.__name__ if is_module else getattr(implementation, "__module__", "")
    attribute = None if is_module else getattr(implementation, "__qualname__", None)
    home = sys.modules.get(name or "")
    kept = home if is_module else getattr(home, attribute or "", None)
    if name == "__main__" or kept is not implementation or name in _importing:
        yield None
        return
    _importing.add(name)
    try:
        with contract.imported_anew(name):
            try:
                module = import_module(name)
            except Exception:  # it cannot be had a second time: then no operation is blamed
                yield None
                return
            yield module if attribute is None else getattr(module, attribute, None)
    finally:
        _importing.discard(name)


_importing: set[str] = set()  # a module that asserts on import does not import itself for ever


def _part(name: str, function: Any, kind: str) -> str:
    """Tell a `layer` of a kind from a whole `rnn`, by the arguments that a function takes."""
    layer, whole = contract.LAYER[kind], contract.WHOLE
    expected = f"expected layer({layer}) or rnn({whole})"
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise UsageError(f"{name} is no function with a signature: {expected}") from None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.kind in positional and p.default is p.empty]
    parts = {len(layer.split(", ")): "layer", len(whole.split(", ")): "rnn"}
    if len(required) not in parts:
        raise UsageError(f"{name} takes {len(required)} arguments: {expected}")
    return parts[len(required)]


def _of_array(x: Any) -> str | None:
    """Return the framework that an array can only be of; anybody may hand over a NumPy one."""
    root = type(x).__module__.partition(".")[0]
    return {"jaxlib": "jax", "jax": "jax", "torch": "torch"}.get(root)


def _message(what: str, case: str, judgement: Judgement) -> str:
    lines = [f"{what}, {case}"]
    lines.append(f"{judgement.verdict}: {judgement.reason}")
    for name, quantity in judgement.quantities.items():
        z = "inf" if quantity.z is None else f"{quantity.z:.3g}"
        error = quantity.max_abs_error
        largest = np.inf if error is None else error
        lines.append(f"  {name:24} {z:>8} units, at most {largest:.3g}, at {quantity.index}")
    return "\n".join(lines)
