"""The rows of a batch that no unit is computed for, compared with the truth by a coarser bound.

The unit costs as much as dozens of passes, so that a large case is judged on a sample of its rows.
A fault that is not in them (in the last rows, or from a tile's width on) would pass. But the truth
of all rows costs one pass, and another pass, in float32, shows what rounding really does to one
right computation of each row. How much of that the unit is, the judged rows tell; the others' unit
is taken to be as much of theirs.
"""

import threading
import weakref
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from threadpoolctl import threadpool_limits

from rnnparity.cells import network
from rnnparity.cells.recurrence import Trace, layer, layer_backward, traced_step
from rnnparity.judging.reference import Reference
from rnnparity.problems.arrays import Problem, rows_are_left, weighing_all_rows
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import numpy_dtype, unit_roundoff
from rnnparity.problems.quantities import is_gradient, of_weights, time_major
from rnnparity.problems.setup import Quantities, Setup, setup
from rnnparity.types import Array

# By how much the bound is wider than the limit. One computation, of all features of a row at a step
# together, stands for the deviation that 32 replicas give of each element: rarely four times off.
SAFETY = 4.0

# Share of the dtype's largest number from which on terms of a sum may have overflowed.
NEAR_OVERFLOW = 1 / 64

# Bytes that the truth of some rows may take while it is computed.
AT_ONCE = 2e8


@dataclass(frozen=True)
class OtherRows:
    """What is true of every row, its gradients where the functional weighs all rows alike.

    Attributes:
        values: quantity to array, time-major, all rows.
        bounds: quantity to array: how far from the value a right result may be, as a multiple of
            the limit; inf if nothing is said. `[T, B, 1]`, or for gradients of weights one number.
    """

    values: dict[str, Array]
    bounds: dict[str, Array]


def reasons(
    case: Case,
    arrays: dict[str, Array],
    every_row: dict[str, Array],
    reference: Reference,
    limit: float,
) -> list[str]:
    """Return what is wrong in rows that are not judged by the unit.

    Args:
        case: what was run.
        arrays: what came of it.
        every_row: the gradients where all rows are weighed, if there are any.
        reference: of the case.
        limit: of the judged rows, in units.
    """
    if not rows_are_left(case, reference.problem):
        return []
    found = [
        _unweighed(case, name, arrays[name], reference)
        for name in ("grad_x", "grad_h0")
        if name in arrays
    ]
    forward = {name: a for name, a in arrays.items() if not is_gradient(name)}
    with threadpool_limits(1), np.errstate(all="ignore"):
        expected = _of(case, reference)
        for name, array in (forward | every_row).items():
            if name in expected.bounds:
                found.append(_off(case, name, array, expected, limit))
    return [reason for reason in found if reason]


def _off(case: Case, name: str, array: Array, expected: OtherRows, limit: float) -> str:
    """Return where a quantity is furthest beyond its bound, or ""."""
    value, bound = expected.values[name], limit * expected.bounds[name]
    found = time_major(case, name, array).astype(np.float64)
    if found.shape != value.shape:
        return f"{name} has shape {found.shape} where all rows are weighed"
    error = np.abs(found - value)
    beyond = np.where(np.isnan(error), np.inf, error) / bound
    beyond = np.where(np.isinf(bound), 0, beyond)
    if not (beyond > 1).any():
        return ""
    index = np.unravel_index(int(np.argmax(beyond)), beyond.shape)
    where = f"{name}[{', '.join(str(int(i)) for i in index)}]"
    of = "all rows weighed" if bound.size == 1 else f"one of {value.shape[1]} rows"
    allowed = np.broadcast_to(bound, value.shape)[index]
    return f"{where} ({of}) is off by {error[index]:.3g}; {allowed:.3g} are allowed"


def _unweighed(case: Case, name: str, array: Array, reference: Reference) -> str:
    """What is not weighed has no gradient: zero, whatever rounding does."""
    found = time_major(case, name, array).astype(np.float64)
    others = np.setdiff1d(np.arange(found.shape[1]), reference.problem.rows)
    # Past an overflow zeros may be multiplied with what is no number.
    if not reference.judged[name].all() or not (np.abs(found[:, others]) > 0).any():
        return ""
    row = others[(np.abs(found[:, others]) > 0).any(axis=(0, 2))][0]
    return f"{name} is not zero in row {row}, on which nothing that is differentiated depends"


_kept: dict[int, OtherRows] = {}
_lock = threading.Lock()


def _of(case: Case, reference: Reference) -> OtherRows:
    """Return what is expected, computed once and kept as long as the reference is."""
    with _lock:
        if id(reference) not in _kept:
            _kept[id(reference)] = _computed(case, reference)
            weakref.finalize(reference, _kept.pop, id(reference), None)
        return _kept[id(reference)]


def _computed(case: Case, reference: Reference) -> OtherRows:
    problem, units = reference.problem, reference.units
    upstream: dict[str, Any] = {**weighing_all_rows(case, problem)}
    whole = problem._replace(**upstream)
    values, rounded = (_values(case, whole, dtype) for dtype in (np.float64, np.float32))
    roundoff = unit_roundoff(case.dtype)
    largest = NEAR_OVERFLOW * float(ml_dtypes.finfo(numpy_dtype(case.dtype)).max)
    fits = (np.abs(values["output"]) < largest).all(axis=(0, 2))
    bounds: dict[str, Array] = {}
    scale = roundoff / unit_roundoff("float32")
    for name, value in values.items():
        gradient = is_gradient(name)
        # Relu's derivative jumps where rounding crosses its kink: whose does, only replicas tell.
        if not reference.judged[name].all() or (gradient and case.config.nonlinearity != "tanh"):
            continue
        if of_weights(name):
            continue
        error = np.sqrt(np.mean(np.square(rounded[name] - value), axis=2))
        unit = units[name].max(axis=(1, 2))
        scale = max(scale, _scale(unit, error[:, problem.rows].max(axis=1)))
        own = roundoff * np.abs(value).max(axis=2)
        bound = SAFETY * np.maximum(np.maximum(unit[:, None], scale * error), own)
        fits &= (np.abs(value) < largest).all(axis=(0, 2))
        bounds[name] = np.where(fits & np.isfinite(bound), bound, np.inf)[:, :, None]
    if "grad_x" in bounds:
        share = (case.B or 1) / len(problem.rows)  # errors of one sign in all rows: the worst sum
        for name in filter(of_weights, values):
            if reference.judged[name].all():
                error = scale * np.abs(rounded[name] - values[name]).max()
                own = roundoff * np.abs(values[name]).max()
                bound = SAFETY * max(share * units[name].max(), error, own)
                bounds[name] = np.full((1,) * values[name].ndim, bound)
    narrow = np.float64 if case.dtype == "float64" else np.float32
    return OtherRows({name: values[name].astype(narrow) for name in bounds}, bounds)


def _scale(unit: Array, error: Array) -> float:
    """Return how much of one computation's error the unit is, in the median over steps."""
    there = error > 0
    return float(np.median(unit[there] / error[there])) if there.any() else 0.0


def _values(case: Case, problem: Problem, dtype: Any) -> dict[str, Array]:
    """Compute every quantity of all rows in a precision, some rows at a time.

    float64 is enough of a truth for the bound, of a float64 case, too: longdouble takes minutes.
    """
    config, B = case.config, case.B or 1
    width = config.input_size + 5 * config.hidden_size
    at_once = max(1, int(AT_ONCE / (8 * case.T * config.num_cells * width)))
    found: dict[str, Array] = {}
    for rows in np.array_split(np.arange(B), -(-B // at_once)):
        for name, value in _of_rows(case, problem._replace(rows=rows), dtype).items():
            if name not in found:
                found[name] = value
            elif of_weights(name):
                found[name] = found[name] + value
            else:
                found[name] = np.concatenate((found[name], value), axis=1)
    return found


def _of_rows(case: Case, problem: Problem, dtype: Any) -> Quantities:
    given = setup(case, problem, dtype)
    tape: list[network.Call] = []

    def run(part: Setup) -> tuple[Array, Any]:
        traces = [Trace(cell, traced_step(part.config)) for cell in part.cells]
        return part.replace(cells=traces).run(layer, None if tape else tape)

    return given.forward(run) | given.backward(layer_backward, tape)
