"""Why an implementation fails: which known mistakes reproduce what it returned."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from rnnparity.cases import Case
from rnnparity.config import RNNConfig
from rnnparity.dtypes import numpy_dtype
from rnnparity.execution import Outcome
from rnnparity.mistakes import Mistake, every_mistake
from rnnparity.problems import NONLINEARITY, PROBES
from rnnparity.reference import Reference
from rnnparity.reference import reference as make_reference
from rnnparity.truth import higher_precision
from rnnparity.verdict import LIMIT, Judgement, first_step_off, judge, judged_part, z_scores

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


def explain_failure(
    case: Case,
    judgement: Judgement,
    outcome: Outcome,
    reference: Reference,
    run: Callable[[Case], Outcome],
) -> tuple[Judgement, tuple[str, ...]]:
    """Add to a failure which known mistake it is, or where it begins.

    Args:
        case: what was run.
        judgement: that it failed.
        outcome: what came of it.
        reference: of the case.
        run: runs the same implementation on another case.

    Returns:
        The judgement with the explanation first in its reason, and the names of the mistakes.
    """
    if judgement.explained:
        return judgement, ()
    matches = diagnose(case, outcome, reference)
    if matches:
        first = matches[0]
        says = f"equals the recurrence with {first.mistake.name} (z = {first.z:.2g})"
    else:
        says = f"{first_step_off(case, outcome, reference)}{_locate(case, run)}"
    names = tuple(match.mistake.name for match in matches)
    reason = f"{says}; {judgement.reason}"
    return Judgement(judgement.verdict, reason, judgement.quantities), names


def _locate(case: Case, run: Callable[[Case], Outcome]) -> str:
    """Say which operation alone is the first that is off, by inputs that isolate each."""
    config = RNNConfig(
        input_size=case.config.input_size, hidden_size=case.config.hidden_size, nonlinearity="relu"
    )
    own = msgspec.structs.replace(config, nonlinearity=case.config.nonlinearity)
    for probe in PROBES:
        # Products behind relu, where they can be had without tanh's own error.
        alone = Case(config=config, T=1, B=4, dtype=case.dtype, regime=probe)
        outcome = run(alone)
        if outcome.verdict == "unsupported" or probe == NONLINEARITY:
            alone = alone.replace(config=own)
            outcome = run(alone)
        if judge(alone, outcome, make_reference(alone)).verdict in ("fail", "error"):
            return f"{probe} alone is off"
    return "products, biases and nonlinearity are right alone, on one step of one layer"


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
    # The unit of the right recurrence, or the mistake's own rounding where that is larger.
    own = mistake.quantities(case, reference.problem, numpy_dtype(case.dtype))
    worst, effect_there = 0.0, 0.0
    for name in shared:
        judged, precise = reference.judged[name], exact[name]
        rounding = _apart(own[name], precise)
        axes = tuple(range(1, rounding.ndim)) if rounding.ndim == 3 else None
        step = np.max(np.where(judged, rounding, 0), axis=axes, keepdims=True)
        unit = np.maximum(reference.units[name], step / 3)
        truth = reference.true.values[name]
        for array, is_found in ((found[name], True), (truth, False)):
            largest = float(np.where(judged, _apart(array, precise) / unit, 0).max())
            worst, effect_there = (
                (max(worst, largest), effect_there)
                if is_found
                else (worst, max(effect_there, largest))
            )
        if worst > LIMIT:
            return worst
    return worst if effect_there > OBSERVABLE else None


def _apart(a: Array, b: Array) -> Array:
    """Return the distance of two arrays; none where both overflowed alike."""
    apart = np.abs(a.astype(b.dtype) - b)
    apart = np.where(np.isnan(apart), np.inf, apart)
    same: Array = np.where(~np.isfinite(a.astype(np.float64)) & ~np.isfinite(b), 0, apart)
    return same
