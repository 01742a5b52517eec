"""Why an implementation fails: which known mistakes reproduce what it returned."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rnnparity.implementations.outcome import Outcome
from rnnparity.judging.difference import judged_part, z_scores
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.mistakes import Mistake, every_mistake
from rnnparity.judging.reference import Reference
from rnnparity.judging.relation.reading import misread
from rnnparity.judging.truth import higher_precision
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import numpy_dtype
from rnnparity.problems.quantities import is_gradient
from rnnparity.types import Array

# A mistake can be seen in a case if its exact effect is above this many units somewhere: twice what
# passes, so that the rounding of the wrong implementation itself cannot hide it.
OBSERVABLE = 2 * LIMIT

# A mistake that was drawn up for a result must come nearer to it than a known one: of hundreds of
# attempts one may come near by chance. Right implementations are 4.0 from the truth at most.
READ_SO_WITHIN = LIMIT / 2


@dataclass(frozen=True)
class Match:
    """A mistake that reproduces an outcome, with the largest remaining error in units."""

    mistake: Mistake
    z: float

    @property
    def told(self) -> str:
        """What it is, in a clause."""
        return f"equals the recurrence with {self.mistake.name} (within {self.z:.2g} units)"


class _Exact(NamedTuple):
    """What a mistake makes in higher precision, its rounding, and how far that is from the truth.

    `rounding` is a third of the largest difference of the mistake in the case's own dtype, by step.
    """

    values: dict[str, Array]
    rounding: dict[str, Array]
    effects: dict[str, float]


# Every mistake that was made of a case, so that it is made once for many outcomes.
Made = dict[Mistake, _Exact]


def diagnose(
    case: Case, outcome: Outcome, reference: Reference, made: Made | None = None
) -> list[Match]:
    """Return the known mistakes that reproduce an outcome to within rounding, the closest first.

    Args:
        case: what was run.
        outcome: what came of it, with arrays of the right shapes and dtype.
        reference: of the case.
        made: what was made of the case before, added to; None to keep nothing.
    """
    found = {
        name: judged_part(case, name, array, reference) for name, array in outcome.arrays.items()
    }
    forward = {name: array for name, array in found.items() if not is_gradient(name)}
    forward_is_right = all(z_scores(a, n, reference).max() <= LIMIT for n, a in forward.items())
    matches = []
    with np.errstate(all="ignore"):
        for mistake in every_mistake():
            is_forward = mistake.forward is not None
            if is_forward == forward_is_right or not mistake.applies(case):
                continue
            z = _distance(case, mistake, found, reference, made)
            if z is not None:
                matches.append(Match(mistake, z))
    return sorted(matches, key=lambda match: match.z)


def read_so(case: Case, arrays: dict[str, Array], reference: Reference) -> list[Match]:
    """Return the first order of what is read that reproduces the forward pass, if there is one.

    Args:
        case: what was run.
        arrays: quantity to array, of the right shapes and dtype.
        reference: of the case.
    """
    found = {
        name: judged_part(case, name, array, reference)
        for name, array in arrays.items()
        if not is_gradient(name)
    }
    if "output" not in arrays:
        return []
    with np.errstate(all="ignore"):
        for mistake in misread(case, arrays["output"], reference):
            z = _distance(case, mistake, found, reference, None)
            if z is not None and z <= READ_SO_WITHIN:
                return [Match(mistake, z)]
    return []


def effect(case: Case, mistake: Mistake, reference: Reference, made: Made | None = None) -> float:
    """Return the largest exact effect of a mistake on a judged element, in units."""
    with np.errstate(all="ignore"):
        exact = _exact(case, mistake, reference, made).values
        return max(float(z_scores(array, name, reference).max()) for name, array in exact.items())


def nameable(case: Case, mistake: Mistake, reference: Reference, made: Made | None = None) -> bool:
    """Return whether a mistake can be told from the truth by its result, not by rounding alone.

    Made in a coarse dtype, a mistake may round by more than the right recurrence does.
    """
    with np.errstate(all="ignore"):
        effects = _exact(case, mistake, reference, made).effects.values()
    return any(size > OBSERVABLE for size in effects)  # the others may not be numbers


def _exact(case: Case, mistake: Mistake, reference: Reference, made: Made | None) -> _Exact:
    if made is not None and mistake in made:
        return made[mistake]
    exact = mistake.quantities(case, reference.problem, higher_precision(case.dtype))
    own = mistake.quantities(case, reference.problem, numpy_dtype(case.dtype))
    found = _Exact(exact, {}, {})
    for name, precise in exact.items():
        judged, truth = reference.judged[name], reference.true.values[name]
        rounding = distance(own[name], precise)
        axes = tuple(range(1, rounding.ndim)) if rounding.ndim == 3 else None
        found.rounding[name] = np.max(np.where(judged, rounding, 0), axis=axes, keepdims=True) / 3
        size = distance(truth, precise) / _units(name, found, reference)
        found.effects[name] = float(np.where(judged, size, 0).max())
    if made is not None:
        made[mistake] = found
    return found


def _units(name: str, exact: _Exact, reference: Reference) -> Array:
    """Return the unit of the right recurrence, or the mistake's own rounding where that is more."""
    return np.maximum(reference.units[name], exact.rounding[name])


def _distance(
    case: Case,
    mistake: Mistake,
    found: dict[str, Array],
    reference: Reference,
    made: Made | None,
) -> float | None:
    """Return how far an outcome is from a mistake's, in units.

    None if it is further than the limit, or if the mistake has no effect here.
    """
    exact = _exact(case, mistake, reference, made)
    there = sorted(exact.values.keys() & found.keys(), key=lambda name: found[name].size)
    if not any(exact.effects[name] > OBSERVABLE for name in there):  # some may not be numbers
        return None
    worst = 0.0
    for name in there:
        off = distance(found[name], exact.values[name]) / _units(name, exact, reference)
        worst = max(worst, float(np.where(reference.judged[name], off, 0).max()))
        if worst > LIMIT:
            return None
    return worst


def distance(a: Array, b: Array) -> Array:
    """Return how far two arrays are from each other; 0 where neither is finite."""
    off = np.abs(a.astype(b.dtype) - b)
    off = np.where(np.isnan(off), np.inf, off)
    same: Array = np.where(~np.isfinite(a.astype(np.float64)) & ~np.isfinite(b), 0, off)
    return same
