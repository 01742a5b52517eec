"""Judging an outcome and explaining a failure, in one call."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from rnnparity.implementations.outcome import Outcome
from rnnparity.judging import precision
from rnnparity.judging.explanation import explain_failure
from rnnparity.judging.location import Fresh, Refer
from rnnparity.judging.reference import Reference
from rnnparity.judging.reference import reference as make_reference
from rnnparity.judging.verdict import Judgement, judge
from rnnparity.problems.cases import Case
from rnnparity.verdicts import Verdict


class Assessment(NamedTuple):
    """A judgement whose reason explains it, and the known mistakes that reproduce the outcome.

    `precision` is that in which float32 matrix products really ran, where it is known.
    """

    judgement: Judgement
    diagnosis: tuple[str, ...] = ()
    precision: str | None = None


def assess(
    case: Case,
    outcome: Outcome,
    reference: Reference,
    fresh: Fresh,
    *,
    baseline: Outcome | None = None,
    refer: Refer = make_reference,
    canary: str | None = None,
) -> Assessment:
    """Judge an outcome, and explain a failure.

    Args:
        case: what was run.
        outcome: what came of it.
        reference: of the case.
        fresh: runs the same implementation on an instance that nothing has called yet.
        baseline: what came of `torch.nn.RNN` on the CPU, if it was run.
        refer: returns what another case is judged against.
        canary: in which precision float32 products ran in the canary, for cases that do not tell.
    """
    judgement = judge(case, outcome, reference, baseline)
    ran = _ran_in(case, outcome, judgement, reference, canary)
    judgement = _allowed(case, outcome, judgement, reference, ran)
    if judgement.verdict != Verdict.FAIL or not judgement.quantities:
        return Assessment(judgement, precision=ran)
    explained = explain_failure(case, judgement, outcome, reference, fresh, refer)
    return Assessment(*explained, precision=ran)


def _ran_in(
    case: Case, outcome: Outcome, judgement: Judgement, reference: Reference, canary: str | None
) -> str | None:
    """Return in which precision a case's products ran; None of other dtypes than float32."""
    if case.dtype != "float32":
        return None
    formed = outcome.arrays["output"] if "output" in judgement.quantities else None
    return precision.precision_of(formed, reference.problem, case) or canary


def _allowed(
    case: Case, outcome: Outcome, judgement: Judgement, reference: Reference, ran: str | None
) -> Judgement:
    """Fail what ran in less than was declared, and say of a failure where all was rounded."""
    if case.dtype != "float32" or not judgement.verdict.was_judged:
        return judgement
    declared = reference.arithmetic.products
    coarser = precision.is_coarser(ran, declared)
    if not coarser and judgement.verdict != Verdict.FAIL:
        return judgement
    numbers = None
    if "output" in judgement.quantities:
        true = reference.true.values["output"].astype(np.float32)
        numbers = precision.numbers_of(outcome.arrays["output"])
        numbers = None if numbers == precision.numbers_of(true) else numbers
    told = [f"matrix products ran in {ran}, not in {declared}"] if coarser else []
    told += [f"every value is a {numbers} number"] if numbers else []
    reason = "; ".join(filter(None, (*told, judgement.reason)))
    return replace(judgement, verdict=Verdict.FAIL, reason=reason)
