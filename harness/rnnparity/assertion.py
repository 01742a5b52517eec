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
from rnnparity.implementations import contract, frameworks, module_names, modules
from rnnparity.implementations.execution import execute, run_times
from rnnparity.implementations.frameworks import FRAMEWORKS, Border
from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.settings import Settings, threads_given
from rnnparity.implementations.whose_arrays import Guess, guesses
from rnnparity.judging.assess import assess
from rnnparity.judging.outputs import assess_outputs
from rnnparity.judging.reference import reference
from rnnparity.judging.verdict import Judgement
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import name_of
from rnnparity.problems.given import Sequences, Weights, keep
from rnnparity.problems.given import case as case_of
from rnnparity.problems.outputs import case_of_outputs
from rnnparity.problems.saved import read_saved


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
    nonlinearity: str | None = None,
    batch_first: bool | None = None,
    cell: str | None = None,
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
        nonlinearity: of the weights, where they do not tell; tanh if None.
        batch_first: whether x is `[B, T, I]`, where the weights do not tell; time first if None.
        cell: "rnn", "gru" or "lstm"; None to find out.
        prefix: what the layer's names begin with, where `weights` holds several.

    Raises:
        AssertionError: it is not; the message has the verdict, the diagnosis and every quantity.
        UsageError: something given cannot be used.
    """
    __tracebackhide__ = True
    settings = Settings(threads=threads_given())
    implementation = module_names.whose(implementation)
    if not module_names.is_module(weights):  # which would tell these itself
        layout = module_names.layout(implementation)
        nonlinearity = nonlinearity or layout.get("nonlinearity")
        batch_first = layout.get("batch_first") if batch_first is None else batch_first
    with tempfile.TemporaryDirectory() as folder:
        kept = keep(Weights(weights, prefix, nonlinearity, batch_first, cell), Path(folder))
        kind = kept.config.kind
        if isinstance(x, str | Path):
            x = read_saved(x, "x").values
        wanted = None if dtype is None else name_of(dtype)
        case = case_of(kept, Sequences(x, h0, lengths, c0), Path(folder), wanted)
        against = reference(case)
        first: tuple[Judgement, str] | None = None
        for guess in _guesses(implementation, framework, x, weights):
            loaded = _loaded(implementation, guess and guess.framework, kind)
            border = frameworks.imported(loaded.framework, settings)
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

            with frameworks.as_set(border, settings):
                outcome = execute(loaded, border, case, against.problem, device)
                judgement = assess(case, outcome, against, fresh).judgement
            if judgement.verdict.is_right:
                return
            # What broke may have been given another framework's arrays: what was judged has not.
            if first is None or (judgement.quantities and not first[0].quantities):
                what = f"{loaded.name} ({loaded.framework} on {device}{_assumed(guess)})"
                first = judgement, _message(what, case.id, judgement)
            if judgement.quantities or guess is None or guess.sure:
                break
    assert first is not None
    raise AssertionError(first[1])


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
    cell: str | None = None,
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
        cell: "rnn", "gru" or "lstm"; None to find out.
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
        kept = keep(Weights(weights, prefix, nonlinearity, batch_first, cell), Path(folder))
        case, given, notes = case_of_outputs(
            kept,
            {name: value for name, value in inputs.items() if value is not None},
            {name: value for name, value in outputs.items() if value is not None},
            Path(folder),
            None if dtype is None else name_of(dtype),
        )
        judgement = assess_outputs(case, given, settings)[0].judgement
    if not judgement.verdict.is_right:
        message = "\n".join([_message("outputs", case.id, judgement), *notes])
        raise AssertionError(message)


def _guesses(
    implementation: Any, framework: str | None, x: Any, weights: Any
) -> list[Guess | None]:
    """Return whose arrays it may take, the likeliest first; None for what says it itself.

    Raises:
        UsageError: nothing tells.
    """
    if isinstance(implementation, str | Path):
        raise UsageError(
            f"an implementation is {str(implementation)!r}, expected a function, an object or a "
            "module: import it; rnnparity.check takes names and files"
        )
    if not _is_function(implementation):
        if framework not in (None, "torch") and module_names.is_module(implementation):
            raise UsageError(f"framework is {framework}, but this is a module of torch's")
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


def _assumed(guess: Guess | None) -> str:
    if guess is None or guess.sure:
        return ""
    return f"; {guess.framework} was assumed, since {guess.why}: else give framework="


def _message(what: str, case: str, judgement: Judgement) -> str:
    lines = [f"{what}, {case}"]
    lines.append(f"{judgement.verdict}: {judgement.reason}")
    for name, quantity in judgement.quantities.items():
        z = "inf" if quantity.z is None else f"{quantity.z:.3g}"
        error = quantity.max_abs_error
        largest = np.inf if error is None else error
        lines.append(f"  {name:24} {z:>8} units, at most {largest:.3g}, at {quantity.index}")
    return "\n".join(lines)
