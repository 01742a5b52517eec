"""`assert_parity`: one comparison inside anybody's own test, in the same process."""

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
from rnnparity.implementations import contract, frameworks, module_names, modules
from rnnparity.implementations.execution import execute, run_times
from rnnparity.implementations.frameworks import FRAMEWORKS, Border
from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.settings import Settings, threads_given
from rnnparity.implementations.whose_arrays import Guess, guesses
from rnnparity.judging.assess import assess
from rnnparity.judging.reference import reference
from rnnparity.judging.verdict import Judgement
from rnnparity.problems import assumed
from rnnparity.problems.cases import Case
from rnnparity.problems.given import Sequences, Weights, keep
from rnnparity.problems.given import case as case_of


def assert_parity(
    implementation: Any,
    weights: Any,
    x: Any = None,
    *,
    h0: Any = None,
    c0: Any = None,
    lengths: Any = None,
    framework: str | None = None,
    device: str = "cpu",
    dtype: str | None = None,
    nonlinearity: str = "tanh",
    batch_first: bool = False,
    prefix: str | None = None,
) -> None:
    """Assert that an implementation is the recurrence of torch's `nn.RNN`, `GRU` or `LSTM`.

    Of which kind the weights are is found out.

    Outputs, final states and, where the implementation has them, gradients are judged against the
    recurrence in higher precision.

    Args:
        implementation: a `torch.nn.Module` with torch's names of parameters, a module or object
            with the names of the contract, or a function: `layer(x, h0, cell, nonlinearity)`, of a
            GRU `layer(x, h0, cell)`, of an LSTM `layer(x, h0, c0, cell)`, or `rnn(x, h0, weights,
            config, lengths)`. One of a module that has a `prepare` stands for the module.
        weights: a `torch.nn.RNN`, `GRU` or `LSTM`, a state dict, or the path of a weights file.
        x: input, laid out as `torch.nn.RNN` takes it; drawn (T = 32, B = 4) if None.
        h0: initial state; zeros if None and x is given.
        c0: of an LSTM, with h0.
        lengths: steps that count in each sequence; all if None.
        framework: "numpy", "jax" or "torch"; found out if None: by the implementation's module, its
            arguments, x, and by what its code names.
        device: one of the framework's, as `rnnparity list` shows them.
        dtype: what to compute in; the weights' own if None.
        nonlinearity: of the weights, which names and shapes do not tell.
        batch_first: whether x is `[B, T, I]`, where the weights do not tell.
        prefix: what the layer's names begin with, where `weights` holds several.

    Raises:
        AssertionError: it is not; the message has the verdict, the diagnosis and every quantity.
        UsageError: something given cannot be used.
    """
    __tracebackhide__ = True
    settings = Settings(threads=threads_given())
    implementation = module_names.whose(implementation)
    layout = module_names.layout(implementation)
    if nonlinearity == "tanh":
        nonlinearity = layout.get("nonlinearity", nonlinearity)
    batch_first = batch_first or layout.get("batch_first", False)
    with tempfile.TemporaryDirectory() as folder:
        kept = keep(Weights(weights, prefix, nonlinearity, batch_first), Path(folder))
        kind = kept.config.kind
        case = case_of(kept, Sequences(x, h0, lengths, c0), Path(folder), dtype)
        against = reference(case)
        first: tuple[Judgement, str] | None = None
        for guess in _guesses(implementation, framework, x, weights):
            loaded = _loaded(implementation, guess and guess.framework, kind)
            border = frameworks.get(loaded.framework, settings)
            if device not in border.devices():
                there = ", ".join(border.devices())
                raise UsageError(
                    f"no device {device!r} for {loaded.framework} here: there is {there}"
                )

            def fresh(
                probe: Case,
                *,
                times: int = 1,
                gradients: bool = False,
                border: Border = border,
                framework: str = loaded.framework,
            ) -> list[Outcome] | None:
                with _once_more(implementation) as again:
                    if again is None:
                        return None
                    anew = _loaded(again, framework, kind)
                    return run_times(anew, border, probe, device, times, gradients)

            outcome = execute(loaded, border, case, against.problem, device)
            judgement = assess(case, outcome, against, fresh).judgement
            if judgement.verdict.is_right:
                return
            # What broke may have been given another framework's arrays: what was judged has not.
            if first is None or (judgement.quantities and not first[0].quantities):
                first = judgement, _message(loaded, device, case.id, judgement, guess)
            if judgement.quantities or guess is None or guess.sure:
                break
    assert first is not None
    message = first[1]
    if module_names.is_module(weights):  # which tells its nonlinearity itself
        message = message.replace(f"; {assumed.nonlinearity(case)}", "")
    raise AssertionError(message.replace("--nonlinearity relu", 'nonlinearity="relu"'))


def _guesses(
    implementation: Any, framework: str | None, x: Any, weights: Any
) -> list[Guess | None]:
    """Return whose arrays it may take, the likeliest first; None for what says it itself.

    Raises:
        UsageError: nothing tells.
    """
    if not _is_function(implementation):
        return [None]
    if framework is not None:
        return [Guess(framework, "framework= says it")]
    found = guesses(implementation, x, weights)
    if not found:
        raise UsageError(
            f"whose arrays {_name(implementation)} takes is not known: give framework=, one of "
            f"{', '.join(FRAMEWORKS)}"
        )
    return [*found]


def _is_function(implementation: Any) -> bool:
    """Whether it is one function, not an object with the names of the contract or a module."""
    has_names = hasattr(implementation, "layer") or hasattr(implementation, "rnn")
    return not (has_names or module_names.is_module(implementation))


def _name(implementation: Any) -> str:
    return str(getattr(implementation, "__name__", type(implementation).__name__))


def _loaded(implementation: Any, framework: str | None, kind: str) -> contract.Implementation:
    name = _name(implementation)
    line = module_names.line_for(implementation)
    if line and not hasattr(implementation, "framework"):
        raise UsageError(f"{name} {line}")
    if _is_function(implementation):
        home = sys.modules.get(getattr(implementation, "__module__", None) or "")
        own = (getattr(home, "layer", None), getattr(home, "rnn", None))
        if hasattr(home, "prepare") and implementation in own:
            return _loaded(home, framework, kind)
        if framework not in FRAMEWORKS:
            raise UsageError(f"framework is {framework!r}, expected one of {', '.join(FRAMEWORKS)}")
        told = {_part(name, implementation, kind): implementation}
        implementation = SimpleNamespace(framework=framework, kind=kind, **told)
    try:
        if module_names.is_module(implementation):
            implementation = modules.adapted(implementation, anew=False)
        return contract.from_object(name, implementation)
    except (contract.BrokenImplementation, module_names.NoTorchNames) as error:
        raise UsageError(str(error).removeprefix(f"{name}: ")) from None


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


def _message(
    loaded: contract.Implementation,
    device: str,
    case: str,
    judgement: Judgement,
    guess: Guess | None,
) -> str:
    assumed_so = ""
    if guess is not None and not guess.sure:
        assumed_so = f"; {guess.framework} was assumed, since {guess.why}: else give framework="
    lines = [f"{loaded.name} ({loaded.framework} on {device}, {case}{assumed_so})"]
    lines.append(f"{judgement.verdict}: {judgement.reason}")
    for name, quantity in judgement.quantities.items():
        z = "inf" if quantity.z is None else f"{quantity.z:.3g}"
        error = quantity.max_abs_error
        largest = np.inf if error is None else error
        lines.append(f"  {name:24} {z:>8} units, at most {largest:.3g}, at {quantity.index}")
    return "\n".join(lines)
