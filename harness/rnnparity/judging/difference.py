"""How far a quantity is from the truth, element by element, in units of predicted rounding."""

from typing import Any

import msgspec
import numpy as np

from rnnparity.implementations.outcome import Outcome
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.reference import Reference
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import spacing, underflow
from rnnparity.problems.quantities import of_weights, time_major
from rnnparity.types import Array

# Of a zero, and up to so many times what underflow makes, the unit is no rounding of anything: z,
# which is then 1e37 or more, says nothing.
FLOORS = 1e3

# What a record keeps of z for pictures: stretches of time, the largest value, and a histogram.
STRETCHES, SHOWN, BIN, BINS = 48, 1e9, 0.25, 40


class Difference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one quantity (`output`, `h_n`, ...) differs from the truth.

    Attributes:
        max_abs_error: the largest absolute error; null where it is not finite.
        max_ulp: the largest error in units in the last place of the dtype at the truth.
        z: the largest error in units of predicted rounding; null where it is not finite.
        index: where that is, time-major: (step, row, feature), (layer and direction, row, unit), or
            the indices of a parameter.
        judged: share of the elements that are judged; the others are past the chaotic horizon.
        max_abs_difference_to_torch_rnn: from `torch.nn.RNN` on the CPU, where it was run.
        rms_z: root mean square of z over the judged elements.
        by_step: of the output, the largest z of every stretch of time steps, equally many in each.
        histogram: of the output, how many elements have z in each bin of a quarter unit.
    """

    max_abs_error: float | None
    max_ulp: float | None
    z: float | None
    index: tuple[int, ...]
    judged: float = 1.0
    max_abs_difference_to_torch_rnn: float | None = None
    rms_z: float | None = None
    by_step: tuple[float, ...] = ()
    histogram: tuple[int, ...] = ()


def judged_part(case: Case, name: str, array: Array, reference: Reference) -> Array:
    """Return a quantity as the reference has it: time-major, the judged rows only."""
    array = time_major(case, name, array)
    return array if of_weights(name) else array[:, reference.problem.rows]


def z_scores(found: Array, name: str, reference: Reference) -> Array:
    """Return the error of every element in units; 0 where it is not judged, inf if not finite.

    Args:
        found: a quantity, time-major, the judged rows only.
        name: its name.
        reference: of the case.
    """
    expected = reference.true.values[name]
    error = np.abs(found.astype(expected.dtype) - expected)
    with np.errstate(over="ignore"):  # of what is beyond float64
        z = (error / reference.units[name]).astype(np.float64)
    z = np.where(np.isnan(z), np.inf, z)
    scores: Array = np.where(reference.judged[name], z, 0.0)
    return scores


def apart(found: Array, other: Array, unit: Array) -> Array:
    """Return a distance in units; inf where it is no number."""
    z = np.abs(found.astype(np.float64) - other.astype(np.float64)) / unit
    return np.asarray(np.where(np.isnan(z), np.inf, z))


def difference(
    case: Case, name: str, array: Array, reference: Reference, baseline: Array | None
) -> Difference:
    """Return how a quantity differs from the truth, and from the baseline's where that is known."""
    found = judged_part(case, name, array, reference)
    expected, judged = reference.true.values[name], reference.judged[name]
    z = z_scores(found, name, reference)
    broken = ~np.isfinite(found.astype(np.float64)) & reference.finite[name]
    z = np.where(broken, np.inf, z)
    index = np.unravel_index(int(np.argmax(z)), z.shape)
    error = np.abs(found.astype(expected.dtype) - expected)
    error = np.where(judged | broken, np.where(np.isnan(error), np.inf, error), 0)
    to_torch = None
    if baseline is not None and baseline.shape == array.shape:
        to_torch = np.abs(array.astype(np.float64) - baseline.astype(np.float64)).max()
    return Difference(
        max_abs_error=_finite(error.max()),
        max_ulp=_finite((error / spacing(expected, case.dtype)).max()),
        z=_finite(z.max()),
        index=_case_index(name, index, reference),
        judged=float(judged.mean()),
        max_abs_difference_to_torch_rnn=_finite(to_torch),
        rms_z=_finite(np.sqrt(np.mean(np.square(z[judged])))) if judged.any() else None,
        by_step=_by_step(z) if name == "output" else (),
        histogram=_histogram(z[judged]) if name == "output" else (),
    )


def _by_step(z: Array) -> tuple[float, ...]:
    """Return the largest z of every time step, or of as many stretches as are kept."""
    largest = np.minimum(z.max(axis=(1, 2)), SHOWN)
    stretches = np.array_split(largest, min(len(largest), STRETCHES))
    return tuple(round(float(one.max()), 3) for one in stretches)


def _histogram(z: Array) -> tuple[int, ...]:
    """Return how many elements have z in each bin of a quarter unit; the last bin is open."""
    counts = np.bincount(np.minimum(z / BIN, BINS).astype(np.int64).ravel(), minlength=BINS + 1)
    return tuple(int(count) for count in np.trim_zeros(counts, "b"))


def _case_index(name: str, index: tuple[Any, ...], reference: Reference) -> tuple[int, ...]:
    where = [int(i) for i in index]
    if not of_weights(name):
        where[1] = int(reference.problem.rows[where[1]])
    return tuple(where)


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None


def why_off(
    case: Case, name: str, array: Array, quantity: Difference, reference: Reference
) -> list[str]:
    """Say where a quantity is furthest from the truth, if it is too far."""
    if quantity.z is not None and quantity.z <= LIMIT:
        return []
    where = f"{name}[{', '.join(map(str, quantity.index))}]"
    if quantity.z is None:
        return [f"{where} is not a finite number, the truth is"]
    z = z_scores(judged_part(case, name, array, reference), name, reference)
    index = np.unravel_index(int(np.argmax(z)), z.shape)
    value = float(judged_part(case, name, array, reference)[index])
    true_value, tiny = float(reference.true.values[name][index]), underflow(case.dtype)
    found, true = told_apart(value, true_value)
    if abs(true_value) <= tiny and reference.units[name][index] <= FLOORS * tiny:
        return [f"{where} is {found}, the truth is {true}, where there is nothing to round"]
    return [
        f"{where} is {found}, the truth is {true}: off by {quantity.z:.3g} units of rounding; "
        f"{LIMIT:g} are allowed"
    ]


def told_apart(a: float, b: float) -> tuple[str, str]:
    """Write two numbers with as many digits as it takes to see that they differ, and one more."""
    for n in range(2, 17):
        if f"{a:.{n}g}" != f"{b:.{n}g}":
            return f"{a:.{n + 1}g}", f"{b:.{n + 1}g}"
    return f"{a:.17g}", f"{b:.17g}"


def first_step_off(case: Case, outcome: Outcome, reference: Reference) -> str:
    """Say where the output first leaves what rounding allows; "" if it does not."""
    if "output" not in outcome.arrays:
        return ""
    found = judged_part(case, "output", outcome.arrays["output"], reference)
    off = z_scores(found, "output", reference) > LIMIT
    if not off.any():
        return ""
    step = int(np.flatnonzero(off.any(axis=(1, 2)))[0])
    row, feature = (int(i) for i in np.argwhere(off[step])[0])
    row = int(reference.problem.rows[row])
    return f"leaves the recurrence at step {step} (row {row}, unit {feature})"
