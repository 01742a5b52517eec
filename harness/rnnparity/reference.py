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
from rnnparity.rounding import units
from rnnparity.truth import Truth, truth

Array = NDArray[Any]

# Where the unit is above this share of a quantity's own size, rounding alone can soon reach all of
# it: the difference no longer grows in proportion, its distribution has heavy tails, and a verdict
# would be a matter of luck. A coarse dtype makes errors of that size without any growth: there it
# takes many unit roundoffs.
CHAOTIC = 1 / 32
CHAOTIC_ROUNDOFFS = 64


@dataclass(frozen=True)
class Reference:
    """The truth of a case, time-major, for its judged rows.

    Attributes:
        problem: the arrays that the implementation is given.
        true: the truth, its traces included.
        units: quantity to array: the deviation that rounding alone predicts.
        judged: quantity to mask: where a difference means something.
        horizon: the first time step at which rounding alone takes over; None if there is none.
    """

    problem: Problem
    true: Truth
    units: dict[str, Array]
    judged: dict[str, NDArray[np.bool_]]
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
        judged = _judged(case, true, sizes)
    steps = np.flatnonzero(~judged["output"].all(axis=(1, 2)))
    return Reference(problem, true, sizes, judged, int(steps[0]) if len(steps) else None)


def _judged(case: Case, true: Truth, sizes: dict[str, Array]) -> dict[str, NDArray[np.bool_]]:
    tiny = 1e3 * underflow(case.dtype)
    share = max(CHAOTIC, CHAOTIC_ROUNDOFFS * unit_roundoff(case.dtype))
    largest = float(ml_dtypes.finfo(numpy_dtype(case.dtype)).max)
    masks: dict[str, NDArray[np.bool_]] = {}
    for name, value in true.values.items():
        unit = sizes[name]
        if name.startswith("grad_"):
            # Of x and h0 row by row of the batch, which are independent; of weights as a whole.
            per_row = name in ("grad_x", "grad_h0")
            axes = (0, 2) if per_row else tuple(range(value.ndim))
            everything = tuple(range(value.ndim))
            small = _rms(unit, axes) <= share * _rms(value, everything) + tiny
            tame = np.logical_and(masks["output"].all(axis=(0, 2)), masks["h_n"].all(axis=(0, 2)))
            calm = small & (tame.reshape(1, -1, 1) if per_row else tame.all())
        else:
            scale = _rms(value, tuple(range(value.ndim)))
            calm = unit.max(axis=2, keepdims=True) <= share * scale + tiny
        fits = np.abs(value).astype(np.float64) + 100 * unit < largest
        masks[name] = np.broadcast_to(calm, value.shape) & fits
    return masks


def _rms(array: Array, axes: tuple[int, ...]) -> Array:
    squares = np.square(array.astype(np.longdouble))
    root: Array = np.sqrt(squares.mean(axis=axes, keepdims=True)).astype(np.float64)
    return root
