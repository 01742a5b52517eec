"""Why an implementation fails: which known mistakes reproduce what it returned."""

import re
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from rnnparity.implementations.outcome import Outcome
from rnnparity.judging.difference import first_step_off, judged_part, z_scores
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.location import Fresh, Refer, locate, one_layer
from rnnparity.judging.mistakes import Mistake, every_mistake
from rnnparity.judging.reference import Reference
from rnnparity.judging.reference import reference as make_reference
from rnnparity.judging.relation import related
from rnnparity.judging.relation.incoming import incoming
from rnnparity.judging.relation.reading import misread
from rnnparity.judging.truth import higher_precision
from rnnparity.judging.verdict import Judgement, judge
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import numpy_dtype
from rnnparity.problems.quantities import is_gradient
from rnnparity.types import Array

# A mistake can be seen in a case if its exact effect is above this many units somewhere: twice what
# passes, so that the rounding of the wrong implementation itself cannot hide it.
OBSERVABLE = 2 * LIMIT

# A mistake that was drawn up for a result must come nearer to it than a known one: of hundreds of
# attempts one may come near by chance. Right implementations came to 3.8 units.
SEARCHED = LIMIT / 2


@dataclass(frozen=True)
class Match:
    """A mistake that reproduces an outcome, with the largest remaining error in units."""

    mistake: Mistake
    z: float

    @property
    def told(self) -> str:
        """What it is, in a clause."""
        return f"equals the recurrence with {self.mistake.name} (z = {self.z:.2g})"


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


def explain_failure(
    case: Case,
    judgement: Judgement,
    outcome: Outcome,
    reference: Reference,
    fresh: Fresh,
    refer: Refer = make_reference,
) -> tuple[Judgement, tuple[str, ...]]:
    """Add to a failure which known mistake it is, or what is off and what is right.

    Args:
        case: what was run.
        judgement: that it failed.
        outcome: what came of it.
        reference: of the case.
        fresh: runs the same implementation on an instance that nothing has called yet.
        refer: returns what another case is judged against.

    Returns:
        The judgement with the explanation first in its reason, and the names of the mistakes.
    """
    right, off = _by_verdict(judgement, outcome)
    gradients = bool(off) and all(is_gradient(name) for name in off)
    wrong = bool(off) and not gradients
    kept = _depends_on_calls(case, reference, fresh, gradients=False, wrong=wrong)
    if gradients and not kept:
        kept = _depends_on_calls(case, reference, fresh, gradients=True, wrong=True)
    if judgement.explained:
        kept = "" if judgement.reason in kept else kept
        reason = "; ".join(filter(None, (judgement.reason, kept)))
        return Judgement(judgement.verdict, reason, judgement.quantities), ()
    if not off:  # an invariant is broken, which its own reason says
        reason = "; ".join(filter(None, (kept, judgement.reason)))
        return Judgement(judgement.verdict, reason, judgement.quantities), ()
    formed = {name: outcome.arrays[name] for name in judgement.quantities}
    matches = diagnose(case, replace(outcome, arrays=formed), reference)
    looked_at = [name for name in off if name in formed and is_gradient(name) == gradients]
    relation = related(case, looked_at, formed, reference)
    searched = (
        [] if matches or gradients or relation.complete else _misread(case, formed, reference)
    )
    if matches or searched:
        says = [(matches or searched)[0].told, relation.off(), kept]
    elif gradients:
        came_in = "" if relation.complete else incoming(case, formed, reference)
        what = came_in or relation.equal or relation.off()
        says = [_gradients_told(right, off), what, kept]
    elif relation.complete:
        says = [relation.equal, kept]
    else:
        begins = relation.begins(first_step_off(case, outcome, reference))
        kept = kept or _a_layer_depends_on_calls(case, fresh, refer)
        known = relation.lowest or ("output" in relation.explained and not relation.no_number)
        if not kept and not known:
            finite = all(quantity.z is not None for quantity in judgement.quantities.values())
            some_rows = " row" in relation.where.get("output", "")
            kept = locate(case, fresh, refer, finite=finite, some_rows=some_rows)
        says = [relation.equal, begins, kept]
    names = tuple(match.mistake.name for match in matches)
    reason = "; ".join([*filter(None, says), judgement.reason])
    return Judgement(judgement.verdict, reason, judgement.quantities), names


def _misread(case: Case, arrays: dict[str, Array], reference: Reference) -> list[Match]:
    """Return the first order of what is read that reproduces the forward pass, if there is one."""
    found = {
        name: judged_part(case, name, array, reference)
        for name, array in arrays.items()
        if not is_gradient(name)
    }
    with np.errstate(all="ignore"):
        for mistake in misread(case, arrays["output"], reference):
            z = _distance(case, mistake, found, reference, None)
            if z is not None and z <= SEARCHED:
                return [Match(mistake, z)]
    return []


def _by_verdict(judgement: Judgement, outcome: Outcome) -> tuple[list[str], list[str]]:
    """Return which quantities are right and which are off; a wrong shape or dtype is off."""
    right, off = [], []
    for name in outcome.arrays:
        quantity = judgement.quantities.get(name)
        if quantity is None or quantity.z is None or quantity.z > LIMIT:
            off.append(name)
        elif quantity.judged > 0:
            right.append(name)
    return right, off


def _gradients_told(right: list[str], off: list[str]) -> str:
    """Say which gradients are off and which are right, where the forward pass is."""
    of_right, of_off = (
        [name.removeprefix("grad_") for name in names if is_gradient(name)]
        for names in (right, off)
    )
    if not of_right:
        return "forward pass right, all gradients off"
    told = f"gradients of {_parameters(of_off, of_right)} off"
    return f"forward pass right; {told}; those of {_parameters(of_right, of_off)} right"


def _parameters(names: list[str], others: list[str]) -> str:
    """Name gradients, without a layer where those of all layers are among them: "x, bias_hh"."""
    elsewhere = {_parameter(name) for name in others}
    short = [_parameter(name) if _parameter(name) not in elsewhere else name for name in names]
    return ", ".join(dict.fromkeys(short))


def _parameter(name: str) -> str:
    """Return a parameter's name without its layer: "weight_hh" of "weight_hh_l0_reverse"."""
    return re.sub(r"_l\d+(_reverse)?$", "", name)


def _depends_on_calls(
    case: Case, reference: Reference, fresh: Fresh, *, gradients: bool, wrong: bool
) -> str:
    """Say how two calls of a fresh instance differ from what fails, and from each other; or "".

    Args:
        case: what failed.
        reference: of the case.
        fresh: runs the implementation.
        gradients: whether they are looked at, too.
        wrong: whether what is looked at is wrong; if not, an invariant is broken, or gradients are.
    """
    plain = case.replace(invariants=False)
    outcomes = fresh(plain, times=2, gradients=gradients)
    if outcomes is None or any(outcome.verdict or outcome.trouble for outcome in outcomes):
        return ""
    with np.errstate(all="ignore"):
        judged = [judge(plain, outcome, reference) for outcome in outcomes]
        right = [not _by_verdict(j, o)[1] for j, o in zip(judged, outcomes, strict=True)]
        if right[0] and (wrong or not right[1]):
            then = "" if right[1] else ", wrong at the second"
            return f"depends on earlier calls: right at the first call of a fresh instance{then}"
        if right[1] and not right[0]:
            return "depends on earlier calls: wrong at the first call, right at the second"
        for name in judged[0].quantities:
            if name not in judged[1].quantities:
                continue
            own, other = (
                judged_part(plain, name, outcome.arrays[name], reference).astype(np.float64)
                for outcome in outcomes
            )
            if (_apart(own, other) / reference.units[name] > np.sqrt(2) * LIMIT).any():
                return f"depends on earlier calls, or on chance: {name} is another at a second call"
    return next((f"depends on earlier calls: {j.reason}" for j in judged if j.explained), "")


def _a_layer_depends_on_calls(case: Case, fresh: Fresh, refer: Refer) -> str:
    """Say how two calls of one layer alone differ; "" if they do not, or if there is but one.

    In a stack that need not show: what is wrong at every second call is so in the same layer.
    """
    alone = one_layer(case)
    if alone is None:
        return ""
    told = _depends_on_calls(alone, refer(alone), fresh, gradients=False, wrong=False)
    return told and f"one layer alone {told}"


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
        rounding = _apart(own[name], precise)
        axes = tuple(range(1, rounding.ndim)) if rounding.ndim == 3 else None
        found.rounding[name] = np.max(np.where(judged, rounding, 0), axis=axes, keepdims=True) / 3
        apart = _apart(truth, precise) / _units(name, found, reference)
        found.effects[name] = float(np.where(judged, apart, 0).max())
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
        apart = _apart(found[name], exact.values[name]) / _units(name, exact, reference)
        worst = max(worst, float(np.where(reference.judged[name], apart, 0).max()))
        if worst > LIMIT:
            return None
    return worst


def _apart(a: Array, b: Array) -> Array:
    """Return the distance of two arrays; none where both overflowed alike."""
    apart = np.abs(a.astype(b.dtype) - b)
    apart = np.where(np.isnan(apart), np.inf, apart)
    same: Array = np.where(~np.isfinite(a.astype(np.float64)) & ~np.isfinite(b), 0, apart)
    return same
