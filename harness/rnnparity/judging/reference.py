"""What an outcome is judged against: the truth, the unit, and where judging makes sense."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from rnnparity.implementations.settings import Settings
from rnnparity.judging import chaos
from rnnparity.judging.truth import Truth, truth
from rnnparity.judging.unit import deviations
from rnnparity.judging.unit.arithmetic import Arithmetic
from rnnparity.problems import arrays
from rnnparity.problems.arrays import Problem
from rnnparity.problems.cases import Case
from rnnparity.types import Array


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
        arithmetic: the sizes of single rounding errors, as declared for the run.
    """

    problem: Problem
    true: Truth
    units: dict[str, Array]
    judged: dict[str, NDArray[np.bool_]]
    finite: dict[str, NDArray[np.bool_]]
    horizon: int | None
    arithmetic: Arithmetic


def reference(case: Case, settings: Settings | None = None) -> Reference:
    """Compute what a case is judged against.

    Args:
        case: what is run.
        settings: of the run: what it declares besides the dtype (a coarser precision of matrix
            products, an absolute error of tanh) is in the unit. None declares nothing.
    """
    arithmetic = Arithmetic.of(case.dtype, settings)
    # One thread: the same bits whatever else runs, and no more cores than the run was given.
    with threadpool_limits(1), np.errstate(over="ignore", under="ignore", invalid="ignore"):
        problem = arrays.build(case)
        true = truth(case, problem)
        digest = hashlib.sha256(case.id.encode()).digest()
        seed = int.from_bytes(digest[:8], "little")
        predicted = deviations(true, arithmetic, seed)
        calm = chaos.where_calm(case, true, predicted)
        finite = chaos.where_finite(case, true, calm)
        # Where rounding alone carries replicas beyond all numbers, nothing can be said either.
        finite = {name: mask & np.isfinite(predicted.units[name]) for name, mask in finite.items()}
        judged = chaos.where_judged(true, calm, finite)
    steps = np.flatnonzero(~judged["output"].all(axis=(1, 2)))
    horizon = int(steps[0]) if len(steps) else None
    return Reference(problem, true, predicted.units, judged, finite, horizon, arithmetic)
