"""Other suites' rules on the same results, for comparison."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnparity.cases import Case
from rnnparity.execution import Outcome
from rnnparity.reference import Reference
from rnnparity.rules import RULES, Compared
from rnnparity.verdict import LIMIT, judged_part

Array = NDArray[Any]

OURS = f"error in units of predicted rounding, limit {LIMIT:g} (ours)"


def apply_rules(
    case: Case,
    outcome: Outcome,
    baseline: Outcome | None,
    against: Reference,
    ours: bool,
    counts: dict[str, list[int]],
) -> None:
    """Count which rules accept a result: all of output and h_n must be accepted.

    Args:
        case: what was run.
        outcome: what came of it.
        baseline: what `torch.nn.RNN` made of it.
        against: the reference.
        ours: whether our own rule accepts it.
        counts: rule to [accepted, of], added to.
    """
    if baseline is None or baseline.verdict or outcome.verdict:
        return

    def part(source: Outcome, name: str) -> Array:
        return judged_part(case, name, source.arrays[name], against).astype(np.float64)

    compared = [
        Compared(
            found=part(outcome, name),
            torch_rnn=part(baseline, name),
            truth=against.true.values[name].astype(np.float64),
        )
        for name in ("output", "h_n")
    ]
    with np.errstate(all="ignore"):
        verdicts = {name: all(map(rule, compared)) for name, rule in RULES.items()} | {OURS: ours}
    for name, accepted in verdicts.items():
        counts[name][0] += accepted
        counts[name][1] += 1
