"""Two runs compared: what became slower or faster, and whether that may be chance."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnparity.defaults import THRESHOLD
from rnnparity.errors import UsageError
from rnnparity.records.timing import CONTROL, IMPLEMENTATION, Timing
from rnnparity.timing import noise

Array = np.ndarray[Any, Any]

# A change is told if chance would make it less often than this, and it is large enough.
CHANCE = 0.05

# Verdicts. Of what has no baseline beside it only the seconds are known, which say as much of the
# machine; what was timed before and now fails is lost.
SLOWER, FASTER, SAME, UNKNOWN, LOST = "slower", "faster", "same", "unknown", "lost"


@dataclass(frozen=True)
class Change:
    """What became of one timing.

    Attributes:
        after: the timing in the later run.
        verdict: "slower", "faster", "same", "unknown" or "lost".
        seconds: the median's factor: 1.1 is 10% slower; None if lost.
        relative: the same for the quotient to what took turns with it in the same run, which is
            what decides; None where there is nothing of the kind.
        p: how often chance alone makes such a difference; None where there is nothing to compare.
        to: what it is relative to: the baseline's name, or "control".
    """

    after: Timing
    verdict: str
    seconds: float | None = None
    relative: float | None = None
    p: float | None = None
    to: str = ""


def compare(
    before: list[Timing],
    after: list[Timing],
    threshold: float = THRESHOLD,
    by_control: bool = False,
) -> list[Change]:
    """Compare the timings that two runs have in common.

    The processes are what is compared, by the median of each: rounds within one are not
    independent. Both are taken relative to what took turns with them in their own run: two runs
    meet two states of the same machine, which no test on seconds could tell from a change. That is
    the baseline; for the baseline itself, and where there is none, or another one, the control.

    Args:
        before: timings of the earlier run.
        after: of the later one.
        threshold: smallest change that counts, as a share.
        by_control: whether the control is taken for all, since the baseline itself may have
            changed: another version of its framework.

    Raises:
        UsageError: they have nothing in common; or the threshold is no share.
    """
    if not (math.isfinite(threshold) and threshold >= 0):
        raise UsageError(f"threshold is {threshold}, expected a share of 0 or more: 0.05 is 5%")
    was = {_key(one): one for one in before if one.seconds}
    pairs = [
        (was[_key(one)], one) for one in after if one.role == IMPLEMENTATION and _key(one) in was
    ]
    timed = [(a, b) for a, b in pairs if b.seconds]
    if not timed:
        raise UsageError("the two runs have no timing in common: compare runs of the same preset")
    return [
        _change(a, b, before, after, threshold, by_control) if b.seconds else Change(b, LOST)
        for a, b in pairs
    ]


def others(before: Sequence[Timing], after: Sequence[Timing]) -> list[str]:
    """Return the names of contestants that took turns in one run only, of what both have timed."""
    jobs = {one.job for one in before} & {one.job for one in after}
    was, now = ({one.implementation for one in run if one.job in jobs} for run in (before, after))
    return sorted(was ^ now)


def _key(one: Timing) -> tuple[Any, ...]:
    return one.id, one.threads


def _change(
    a: Timing,
    b: Timing,
    before: list[Timing],
    after: list[Timing],
    threshold: float,
    by_control: bool,
) -> Change:
    assert a.median is not None
    assert b.median is not None
    seconds = b.median / a.median
    same = a.baseline == b.baseline and a.baseline not in ("", a.implementation)
    for to in (a.baseline, CONTROL) if same and not by_control else (CONTROL,):
        own, other = _relative(a, before, to), _relative(b, after, to)
        if own is not None and other is not None and min(len(own), len(other)) > 1:
            break
    else:
        return Change(b, UNKNOWN, seconds)
    relative = float(np.median(other) / np.median(own))
    p = _by_chance(own, other)
    floor = max(noise.floor(a, before), noise.floor(b, after))
    told = p < CHANCE and abs(relative - 1) > max(threshold, floor)
    verdict = (SLOWER if relative > 1 else FASTER) if told else SAME
    return Change(b, verdict, seconds, relative, p, to)


def _by_chance(own: Array, other: Array) -> float:
    """Return how often chance alone makes a difference of two sets of processes.

    By ranks (Mann and Whitney, 1947), which supposes nothing; where there are too few processes for
    these to tell anything, by Welch's t (1947) of the logarithms, which supposes that they scatter
    as a normal distribution does.
    """
    from scipy.stats import mannwhitneyu, ttest_ind

    m, n = len(own), len(other)
    if 2 / math.comb(m + n, n) < CHANCE:
        return float(mannwhitneyu(own, other).pvalue)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of processes that are exactly alike
        p = float(ttest_ind(np.log(own), np.log(other), equal_var=False).pvalue)
    return 1.0 if math.isnan(p) else p


def _relative(one: Timing, run: list[Timing], to: str) -> Array | None:
    """Return the median quotient to another contestant for each process; None without that."""
    beside = next(
        (b for b in run if b.seconds and b.implementation == to and b.job == one.job), None
    )
    if beside is None:
        return None
    pairs = zip(one.seconds, beside.seconds, strict=True)
    return np.array([np.median(np.divide(own, base)) for own, base in pairs])
