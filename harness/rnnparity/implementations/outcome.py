"""What came of a run: results taken over as NumPy's arrays, or why there are none."""

from dataclasses import dataclass, field
from typing import Any

from rnnparity.cells.config import RNNConfig
from rnnparity.errors import ContractViolation
from rnnparity.implementations.frameworks import Border
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import numpy_dtype
from rnnparity.types import Array
from rnnparity.verdicts import Verdict

Result = dict[str, Array]  # "output", "h_n", ..., in their own dtype


@dataclass(frozen=True)
class Trouble:
    """Why there are no gradients: FAIL or ERROR, or UNSUPPORTED, and the reason in one line."""

    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What came of a run: arrays in their own dtype, or why there are none.

    Attributes:
        arrays: quantity ("output", "h_n", ...) to array, as the implementation returned it.
        verdict: None where the arrays decide, else FAIL, ERROR, UNSUPPORTED or ABSENT.
        reason: one line, where there is a verdict.
        invariants: what it returned in ways that must not matter, to compare with `arrays`.
        trouble: why there are no gradients among the arrays, though there should be.
        every_row: its gradients where the functional weighs all rows of the batch, if only a sample
            of them is judged (and weighed) otherwise.
    """

    arrays: Result = field(default_factory=dict)
    verdict: Verdict | None = None
    reason: str = ""
    invariants: dict[str, Result] = field(default_factory=dict)
    trouble: Trouble | None = None
    every_row: Result = field(default_factory=dict)


def named(result: Any, config: RNNConfig) -> dict[str, Any]:
    """Return the parts of a result under their names: output, h_n, and an LSTM's c_n, if told.

    Raises:
        ContractViolation: it is no pair, or an LSTM's last states are none.
    """
    expected = "(output, (h_n, c_n))" if config.kind == "lstm" else "(output, h_n)"
    _check_pair("", result, expected)
    if config.kind != "lstm":
        return {"output": result[0], "h_n": result[1]}
    _check_pair("as its last states ", result[1], "(h_n, c_n)")
    found = {"output": result[0], "h_n": result[1][0], "c_n": result[1][1]}
    return {name: value for name, value in found.items() if value is not None}


def _check_pair(what: str, value: Any, expected: str) -> None:
    if not isinstance(value, tuple | list) or len(value) != 2:
        size = f" of {len(value)}" if isinstance(value, tuple | list) else ""
        kind = type(value).__name__
        raise ContractViolation(f"returned {what}a {kind}{size}, expected the pair {expected}")


def crossed(border: Border, found: dict[str, Any], x: tuple[int, ...], case: Case) -> Result:
    """Return a result as NumPy's arrays, of the shapes and the dtype that are expected.

    Args:
        border: of the framework.
        found: "output" and "h_n".
        x: the shape of the input.
        case: says the rest.

    Raises:
        ContractViolation: another type, shape or dtype. Nothing behind this asks again.
    """
    arrays = numbers(border, found, case)
    expected = result_shapes(case.config, x)
    for name, array in arrays.items():
        if array.shape != expected[name]:
            raise ContractViolation(f"{name} has shape {array.shape}, expected {expected[name]}")
        if array.dtype != numpy_dtype(case.dtype):
            raise ContractViolation(f"{name} is {array.dtype}, expected {case.dtype}")
    return arrays


def numbers(border: Border, found: dict[str, Any], case: Case) -> Result:
    """Return arrays of a framework as NumPy's, of any shape and of any numbers.

    Raises:
        ContractViolation: one is no array of the framework, or not of numbers.
    """
    arrays = {}
    for name, value in found.items():
        try:
            arrays[name] = border.to_numpy(value)
        except ContractViolation as violation:
            raise ContractViolation(f"{name}: {violation}") from None
        if arrays[name].dtype.hasobject:
            raise ContractViolation(f"{name} is {arrays[name].dtype}, expected {case.dtype}")
    return arrays


def result_shapes(config: RNNConfig, x: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of output and h_n for an input's, `[T, B, I]`, `[B, T, I]` or `[T, I]`."""
    H, features = config.hidden_size, config.num_directions * config.hidden_size
    batch = x[:-1][0 if config.batch_first else 1 :][:1] if len(x) == 3 else ()
    states = (config.num_cells, *batch, H)
    return {"output": (*x[:-1], features)} | {f"{state}_n": states for state in config.states}
