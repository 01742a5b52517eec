"""Why an implementation fails: which known mistakes reproduce what it returned."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnparity.cases import Case
from rnnparity.dtypes import numpy_dtype
from rnnparity.execution import Outcome
from rnnparity.mistakes import Mistake, every_mistake
from rnnparity.reference import Reference
from rnnparity.truth import higher_precision
from rnnparity.verdict import LIMIT, judged_part, z_scores

Array = NDArray[Any]

# A mistake can be seen in a case if its exact effect is above this many units somewhere: twice what
# passes, so that the rounding of the wrong implementation itself cannot hide it.
OBSERVABLE = 2 * LIMIT


@dataclass(frozen=True)
class Match:
    """A mistake that reproduces an outcome, with the largest remaining error in units."""

    mistake: Mistake
    z: float


def diagnose(case: Case, outcome: Outcome, reference: Reference) -> list[Match]:
    """Return the known mistakes that reproduce an outcome to within rounding, the closest first.

    Args:
        case: what was run.
        outcome: what came of it, with arrays of the right shapes and dtype.
        reference: of the case.
    """
    found = {
        name: judged_part(case, name, array, reference) for name, array in outcome.arrays.items()
    }
    forward = {name: array for name, array in found.items() if not name.startswith("grad_")}
    forward_is_right = all(z_scores(a, n, reference).max() <= LIMIT for n, a in forward.items())
    matches = []
    with np.errstate(all="ignore"):
        for mistake in every_mistake():
            is_forward = mistake.forward is not None
            if is_forward == forward_is_right or not mistake.applies(case):
                continue
            z = _distance(case, mistake, found, reference)
            if z is not None and z <= LIMIT:
                matches.append(Match(mistake, z))
    return sorted(matches, key=lambda match: match.z)


def effect(case: Case, mistake: Mistake, reference: Reference) -> float:
    """Return the largest exact effect of a mistake on a judged element, in units."""
    with np.errstate(all="ignore"):
        exact = mistake.quantities(case, reference.problem, higher_precision(case.dtype))
        return max(float(z_scores(array, name, reference).max()) for name, array in exact.items())


def _distance(
    case: Case, mistake: Mistake, found: dict[str, Array], reference: Reference
) -> float | None:
    """Return how far an outcome is from a mistake's, in units; None if it has no effect here."""
    exact = mistake.quantities(case, reference.problem, higher_precision(case.dtype))
    shared = exact.keys() & found.keys()
    if not shared or max(z_scores(exact[name], name, reference).max() for name in shared) <= LIMIT:
        return None
    # The unit of the right recurrence, or the mistake's own rounding where that is larger.
    own = mistake.quantities(case, reference.problem, numpy_dtype(case.dtype))
    worst = 0.0
    for name in shared:
        judged = reference.judged[name]
        precise = exact[name]
        rounding = np.abs(np.where(judged, own[name].astype(precise.dtype) - precise, 0))
        unit = np.maximum(reference.units[name], np.nanmax(rounding) / 3)
        z = np.abs(found[name].astype(precise.dtype) - precise) / unit
        z = np.where(judged, np.where(np.isnan(z), np.inf, z), 0)
        worst = max(worst, float(z.max()))
        if worst > LIMIT:
            break
    return worst
