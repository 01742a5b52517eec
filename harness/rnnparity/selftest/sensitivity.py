"""No mistake may pass where it can be seen, and every one must be named."""

import numpy as np

from rnnparity.implementations.outcome import Outcome
from rnnparity.judging.diagnosis import OBSERVABLE, Made, diagnose, effect, nameable
from rnnparity.judging.difference import judged_part, z_scores
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.mistakes import Mistake, every_mistake
from rnnparity.judging.reference import Reference, reference
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import numpy_dtype
from rnnparity.problems.quantities import of_weights, time_major
from rnnparity.selftest.findings import Failure, Found
from rnnparity.selftest.rules import apply_rules


def check_mistakes(case: Case, baseline: Outcome | None, found: Found) -> None:
    """Make every mistake on a case.

    Args:
        case: what is run.
        baseline: what `torch.nn.RNN` made of it, if it is here.
        found: what is added to.
    """
    against, made = reference(case), Made()
    sorts = case.dtype, case.regime.rstrip("0123456789.")
    for mistake in every_mistake():
        if not mistake.applies(case) or effect(case, mistake, against, made) <= OBSERVABLE:
            continue
        outcome = wrong_outcome(case, mistake, against)
        wrong = case.config.kind, mistake.name
        found.observable[wrong] += 1
        found.seen.update((wrong, sort) for sort in sorts)
        z = max(
            float(z_scores(judged_part(case, n, a, against), n, against).max())
            for n, a in outcome.arrays.items()
        )
        if z <= LIMIT:
            found.survived.append(Failure(mistake.name, case.id, f"z = {z:.3g}"))
            continue
        found.killed.update((wrong, sort) for sort in sorts)
        names = [match.mistake.name for match in diagnose(case, outcome, against, made)]
        if mistake.name not in names and nameable(case, mistake, against, made):
            found.undiagnosed.append(Failure(mistake.name, case.id, f"named: {names}"))
        if case.dtype == "float32" and mistake.forward is not None:
            apply_rules(case, outcome, baseline, against, False, found.wrong)


def wrong_outcome(case: Case, mistake: Mistake, against: Reference) -> Outcome:
    """Return what a wrong implementation with this one mistake returns, as a worker would."""
    every_row = against.problem._replace(rows=np.arange(case.B or 1))
    with np.errstate(all="ignore"):
        made = mistake.quantities(case, every_row, numpy_dtype(case.dtype))
    arrays = {}
    for name, array in made.items():
        one = case.B is None and not of_weights(name)
        arrays[name] = array[:, 0] if one else time_major(case, name, array)
    return Outcome(arrays)
