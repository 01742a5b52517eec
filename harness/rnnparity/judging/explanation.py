"""What is said of a failure, joined from the clauses of others.

"equals the recurrence with ..."        diagnosis
"output in row 3 equals the truth ..."  relation
"tanh alone is off ..."                 location
"off by 38 units of rounding ..."       difference
"another call ..."                      calls
"forward pass right; gradients of ..."  here
"depends on earlier calls ..."          here
"""

import re
from dataclasses import replace

import numpy as np

from rnnparity.implementations.outcome import Outcome
from rnnparity.judging.diagnosis import Match, diagnose, distance, read_so
from rnnparity.judging.difference import first_step_off, judged_part
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.location import Fresh, Refer, locate, one_layer
from rnnparity.judging.mistakes.forward import EXCHANGED
from rnnparity.judging.reference import Reference
from rnnparity.judging.reference import reference as make_reference
from rnnparity.judging.relation import related
from rnnparity.judging.relation.incoming import incoming
from rnnparity.judging.verdict import Judgement, judge
from rnnparity.problems import assumed
from rnnparity.problems.cases import Case
from rnnparity.problems.quantities import is_gradient


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
    of_calls = _calls_told(case, reference, fresh, gradients=False, wrong=wrong)
    if gradients and not of_calls:
        of_calls = _calls_told(case, reference, fresh, gradients=True, wrong=True)
    if judgement.explained:
        of_calls = "" if judgement.reason in of_calls else of_calls
        reason = "; ".join(filter(None, (judgement.reason, of_calls)))
        return Judgement(judgement.verdict, reason, judgement.quantities), ()
    if not off:  # an invariant is broken, which its own reason says
        reason = "; ".join(filter(None, (of_calls, judgement.reason)))
        return Judgement(judgement.verdict, reason, judgement.quantities), ()
    formed = {name: outcome.arrays[name] for name in judgement.quantities}
    matches = diagnose(case, replace(outcome, arrays=formed), reference)
    looked_at = [name for name in off if name in formed and is_gradient(name) == gradients]
    relation = related(case, looked_at, formed, reference)
    orders = [] if matches or gradients or relation.complete else read_so(case, formed, reference)
    if matches or orders:
        says = [(matches or orders)[0].told, *_assumed(case, matches), relation.off(), of_calls]
    elif gradients:
        came_in = "" if relation.complete else incoming(case, formed, reference)
        what = came_in or relation.equal or relation.off()
        says = [_gradients_told(right, off), what, of_calls]
    elif relation.complete:
        says = [relation.equal, of_calls]
    else:
        begins = relation.begins(first_step_off(case, outcome, reference))
        of_calls = of_calls or _calls_of_a_layer(case, fresh, refer)
        known = relation.lowest or ("output" in relation.explained and not relation.no_number)
        located = ""
        if not of_calls and not known:
            finite = all(quantity.z is not None for quantity in judgement.quantities.values())
            some_rows = " row" in relation.where.get("output", "")
            located = locate(case, fresh, refer, finite=finite, some_rows=some_rows)
        says = [relation.equal, begins, of_calls, located]
    names = tuple(match.mistake.name for match in matches)
    reason = "; ".join([*filter(None, says), judgement.reason])
    return Judgement(judgement.verdict, reason, judgement.quantities), names


def _assumed(case: Case, matches: list[Match]) -> list[str]:
    """Say what of the user's weights was assumed, where that may be all that is wrong."""
    exchanged = matches and matches[0].mistake.name == EXCHANGED
    return [assumed.nonlinearity(case)] if exchanged else []


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


def _calls_told(
    case: Case, reference: Reference, fresh: Fresh, *, gradients: bool, wrong: bool
) -> str:
    """Say that a failure depends on which calls came before, if two of a fresh instance show it.

    "depends on earlier calls: right at the first call of a fresh instance", say; "" if it does not.

    Args:
        case: what failed.
        reference: of the case.
        fresh: runs the implementation.
        gradients: whether they are looked at, too.
        wrong: whether what is looked at is wrong by the failure itself, so that a right first call
            contradicts it; if not, an invariant is broken, or gradients alone are off.
    """
    plain = case.replace(invariants=False)
    outcomes = fresh(plain, times=2, gradients=gradients)
    if outcomes is None or any(
        o.verdict or (o.trouble and o.trouble.verdict.is_wrong) for o in outcomes
    ):
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
            if (distance(own, other) / reference.units[name] > np.sqrt(2) * LIMIT).any():
                return f"depends on earlier calls, or on chance: {name} is another at a second call"
    return next((f"depends on earlier calls: {j.reason}" for j in judged if j.explained), "")


def _calls_of_a_layer(case: Case, fresh: Fresh, refer: Refer) -> str:
    """Say how two calls of one layer alone differ; "" if they do not, or if there is but one.

    A stack of two layers calls the same function twice in every run: what it gets wrong at every
    second call is wrong in the second layer each time, and no two runs differ.
    """
    alone = one_layer(case)
    if alone is None:
        return ""
    told = _calls_told(alone, refer(alone), fresh, gradients=False, wrong=False)
    return told and f"one layer alone {told}"
