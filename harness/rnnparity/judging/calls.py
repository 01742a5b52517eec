"""What must not matter: calls in other ways, the same call again, another input."""

import numpy as np

from rnnparity.implementations import invariants
from rnnparity.implementations.outcome import Outcome
from rnnparity.judging.difference import apart, judged_part, z_scores
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.reference import Reference
from rnnparity.judging.truth import truth
from rnnparity.problems.cases import Case


def broken_invariants(case: Case, outcome: Outcome, reference: Reference) -> list[str]:
    """Compare what the implementation returned in ways that must not matter with what it returned.

    Both were rounded, so that their difference may be sqrt(2) units where each may be one.
    """
    reasons = []
    for invariant, result in outcome.invariants.items():
        if invariant in invariants.NOT_COMPARED:
            continue
        for name, array in result.items():
            found = judged_part(case, name, array, reference)
            own = judged_part(case, name, outcome.arrays[name], reference)
            z = apart(found, own, np.sqrt(2) * reference.units[name])
            largest = np.where(reference.judged[name], z, 0).max()
            if largest > LIMIT:
                reasons.append(f"{invariant}: {name} differs by {largest:.3g} units of rounding")
    return reasons


def keeps_state(case: Case, outcome: Outcome, reference: Reference) -> list[str]:
    """Whether an earlier call shows in a later one: in the same again, or in one without h0."""
    question = "is state kept between calls?"
    for name, again in outcome.invariants.get(invariants.REPEATED, {}).items():
        if name not in outcome.arrays:
            continue
        found = judged_part(case, name, again, reference)
        first = judged_part(case, name, outcome.arrays[name], reference)
        off = apart(found, first, np.sqrt(2) * reference.units[name]) > LIMIT
        if off[reference.judged[name]].any():
            return [f"the same input twice gives another result ({name} differs): {question}"]
        if z_scores(found, name, reference).max() > LIMIT:
            return [f"{name} is off when the same input is given again: {question}"]
    without, zeros = (
        outcome.invariants.get(name) for name in (invariants.NO_STATE, invariants.ZERO_STATE)
    )
    if without is None or zeros is None or reference.horizon is not None:
        return []
    for name in without:
        found, expected = (judged_part(case, name, r[name], reference) for r in (without, zeros))
        # The unit is that of another h0: the largest at a step stands for all of it.
        unit = reference.units[name].max(axis=2, keepdims=True)
        if (apart(found, expected, np.sqrt(2) * unit) > LIMIT).any():
            told = f"without h0 {name} is not what it is with zeros as h0: {question}"
            return [f"{told} is a bias left out where there is no h0?"]
    return []


def is_cached(case: Case, outcome: Outcome, reference: Reference) -> list[str]:
    """Whether another input gave the same bits though its truth is another."""
    other = outcome.invariants.get(invariants.RESPONDS)
    if other is None or other["output"].tobytes() != outcome.arrays["output"].tobytes():
        return []
    problem = reference.problem
    changed = truth(case, problem._replace(x=invariants.other_input(problem))).values["output"]
    if z_scores(changed, "output", reference).max() <= 2 * LIMIT:
        return []
    return ["returned the same output for another input: is it cached?"]
