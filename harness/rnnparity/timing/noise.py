"""The noise floor of a run: the baseline timed against itself, and what is not above it."""

from collections.abc import Sequence

from rnnparity.records.timing import AGAIN, Timing


def floor(one: Timing, run: Sequence[Timing]) -> float:
    """Return how far from 1 the baseline's ratio to itself may be, in the same job as a timing.

    0 if it was not timed twice there.
    """
    again = next((o for o in run if o.role == AGAIN and o.ratio and o.job == one.job), None)
    if again is None or again.ratio_low is None or again.ratio_high is None:
        return 0.0
    return max(again.ratio_high - 1, 1 - again.ratio_low, 0.0)


def largest(run: Sequence[Timing]) -> float | None:
    """Return the largest noise floor of all jobs; None if no baseline was timed twice."""
    return max((floor(o, run) for o in run if o.role == AGAIN and o.ratio), default=None)


def is_same(one: Timing, run: Sequence[Timing]) -> bool:
    """Whether no difference to the baseline was seen: below the floor, or 1 in the interval."""
    if one.ratio is None or one.ratio_low is None or one.ratio_high is None:
        return False
    return one.ratio_low <= 1 <= one.ratio_high or abs(one.ratio - 1) < floor(one, run)
