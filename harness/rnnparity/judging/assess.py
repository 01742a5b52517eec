"""Judging an outcome and explaining a failure, in one call."""

from collections.abc import Callable
from typing import NamedTuple

from rnnparity.implementations.outcome import Outcome
from rnnparity.judging.explanation import explain_failure
from rnnparity.judging.location import Fresh, Refer
from rnnparity.judging.reference import Reference
from rnnparity.judging.reference import reference as make_reference
from rnnparity.judging.verdict import Judgement, judge
from rnnparity.problems.cases import Case
from rnnparity.verdicts import Verdict


class Assessment(NamedTuple):
    """A judgement whose reason explains it, and the known mistakes that reproduce the outcome."""

    judgement: Judgement
    diagnosis: tuple[str, ...] = ()


def assess(
    case: Case,
    outcome: Outcome,
    reference: Reference,
    fresh: Fresh,
    *,
    baseline: Outcome | None = None,
    refer: Refer = make_reference,
    amend: Callable[[Judgement], Judgement] = lambda judgement: judgement,
) -> Assessment:
    """Judge an outcome, and explain a failure.

    Args:
        case: what was run.
        outcome: what came of it.
        reference: of the case.
        fresh: runs the same implementation on an instance that nothing has called yet.
        baseline: what came of `torch.nn.RNN` on the CPU, if it was run.
        refer: returns what another case is judged against.
        amend: adds to a judgement what is known besides the outcome.
    """
    judgement = amend(judge(case, outcome, reference, baseline))
    if judgement.verdict != Verdict.FAIL or not judgement.quantities:
        return Assessment(judgement)
    return Assessment(*explain_failure(case, judgement, outcome, reference, fresh, refer))
