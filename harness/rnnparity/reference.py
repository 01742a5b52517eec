"""What an outcome is judged against: the truth, the unit, and where judging makes sense."""

import hashlib
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from rnnparity import problems
from rnnparity.cases import Case
from rnnparity.dtypes import numpy_dtype, underflow, unit_roundoff
from rnnparity.problems import Problem
from rnnparity.rounding import KINK, units
from rnnparity.truth import Truth, truth

Array = NDArray[Any]

# Where the unit is above this share of a quantity's own size, rounding alone can soon reach all of
# it: the difference no longer grows in proportion, its distribution has heavy tails, and a verdict
# would be a matter of luck. A coarse dtype makes errors of that size without any growth: there it
# takes many unit roundoffs.
CHAOTIC = 1 / 32
CHAOTIC_ROUNDOFFS = 64

# Relu stops being linear where its kink is within reach, which is ten units: ten times sooner.
CHAOTIC_RELU = CHAOTIC / KINK


@dataclass(frozen=True)
class Reference:
    """The truth of a case, time-major, for its judged rows.

    Attributes:
        problem: the arrays that the implementation is given.
        true: the truth, its traces included.
        units: quantity to array: the deviation that rounding alone predicts.
        judged: quantity to mask: where a difference means something.
        finite: quantity to mask: where a number is expected, judged or not; elsewhere the dtype may
            have overflowed.
        horizon: the first time step at which rounding alone takes over; None if there is none.
    """

    problem: Problem
    true: Truth
    units: dict[str, Array]
    judged: dict[str, NDArray[np.bool_]]
    finite: dict[str, NDArray[np.bool_]]
    horizon: int | None


def reference(case: Case, matmul_precision: str = "float32") -> Reference:
    """Compute what a case is judged against.

    Args:
        case: what is run.
        matmul_precision: as declared for the run: with "tf32", rounding to TF32 is in the unit.
    """
    # One thread: the same bits whatever else runs, and no more cores than the run was given.
    with threadpool_limits(1), np.errstate(over="ignore", under="ignore", invalid="ignore"):
        problem = problems.build(case)
        true = truth(case, problem)
        digest = hashlib.sha256(case.id.encode()).digest()
        sizes = units(true, case.dtype, int.from_bytes(digest[:8], "little"), matmul_precision)
        finite = _finite(case, true)
        judged = _judged(case, true, sizes, finite)
    steps = np.flatnonzero(~judged["output"].all(axis=(1, 2)))
    horizon = int(steps[0]) if len(steps) else None
    return Reference(problem, true, sizes, judged, finite, horizon)


def _judged(
    case: Case, true: Truth, sizes: dict[str, Array], finite: dict[str, NDArray[np.bool_]]
) -> dict[str, NDArray[np.bool_]]:
    tiny = 1e3 * underflow(case.dtype)
    share = CHAOTIC if case.config.nonlinearity == "tanh" else CHAOTIC_RELU
    share = max(share, CHAOTIC_ROUNDOFFS * unit_roundoff(case.dtype))
    masks: dict[str, NDArray[np.bool_]] = {}
    for name, value in true.values.items():
        if name.startswith("grad_"):
            # Rows of a batch do not depend on each other; weights depend on all of them.
            tame = masks["output"].all(axis=(0, 2)) & masks["h_n"].all(axis=(0, 2))
            calm = tame.reshape(1, -1, 1) if name in ("grad_x", "grad_h0") else tame.all()
        else:
            calm = _calm(true, name, sizes[name], share, tiny)
        masks[name] = np.broadcast_to(calm, value.shape) & finite[name]
        if name == "h_n":  # the end of the same rows
            masks[name] = masks[name] & masks["output"].all(axis=(0, 2)).reshape(1, -1, 1)
    return masks


def _calm(true: Truth, name: str, unit: Array, share: float, tiny: float) -> NDArray[np.bool_]:
    """Return the steps and rows before rounding takes over, in the order of each direction.

    What was chaotic once stays so, also where the unit happens to shrink again. Relu's states may
    grow by many orders of magnitude: their size is that of the steps so far.
    """
    value, config = true.values[name], true.config
    if name in ("h_n", "next_h_n"):
        small: NDArray[np.bool_] = unit.max(axis=2, keepdims=True) <= share * _rms(value) + tiny
        return small
    calm = np.ones((*value.shape[:2], 1), bool)
    for d in range(config.num_directions):
        own, order = slice(d * config.hidden_size, (d + 1) * config.hidden_size), 1 - 2 * d
        size: Any = _rms(value)
        if config.nonlinearity == "relu":
            reach = np.abs(value[::order, :, own]).max(axis=2, keepdims=True)
            size = np.maximum.accumulate(reach, axis=0)
        small = unit[::order, :, own].max(axis=2, keepdims=True) <= share * size + tiny
        calm &= np.logical_and.accumulate(small, axis=0)[::order]
    return calm


def _finite(case: Case, true: Truth) -> dict[str, NDArray[np.bool_]]:
    """Return where the dtype cannot have overflowed on the way, by the truth's own values.

    Past an overflow, infinities meet and make NaN in every later step of the row.
    """
    config = true.config
    largest = float(ml_dtypes.finfo(numpy_dtype(case.dtype)).max)
    largest = min(largest, 1e150)  # variances, their squares, are kept in float64
    largest /= config.input_size + 2 * config.hidden_size  # a sum of so many terms must fit, too

    def over(arrays: list[Array]) -> NDArray[np.bool_]:
        found = [(np.abs(array) >= largest).any(axis=2) for array in arrays]
        either: NDArray[np.bool_] = np.logical_or.reduce(
            [~np.isfinite(a).all(axis=2) | b for a, b in zip(arrays, found, strict=True)]
        )
        return either

    forward = over([trace.output for trace in true.traces])  # [T, R]
    in_order = config.num_cells == 1
    past = np.maximum.accumulate(forward, axis=0) if in_order else forward | forward.any(axis=0)
    row = forward.any(axis=0)
    row_backward = row | over([trace.grad_h for trace in true.traces]).any(axis=0)
    masks: dict[str, NDArray[np.bool_]] = {}
    for name, value in true.values.items():
        if name == "output":
            fine = ~past[:, :, None]
        elif name in ("grad_x", "grad_h0"):
            fine = ~row_backward.reshape(1, -1, 1)
        elif name.startswith("grad_"):
            fine = np.asarray(not row_backward.any())
        else:
            fine = ~row.reshape(1, -1, 1)
        masks[name] = np.broadcast_to(fine, value.shape) & (np.abs(value) < largest)
    return masks


def _rms(array: Array) -> float:
    return float(np.sqrt(np.mean(np.square(array.astype(np.longdouble)))))
