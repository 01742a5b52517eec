"""Two runs compared: what became slower or faster, and whether that may be chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnparity.defaults import THRESHOLD
from rnnparity.errors import UsageError
from rnnparity.records.timing import IMPLEMENTATION, Timing
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
        relative: the same for the quotient to the baseline of the same run, which is what decides;
            None where there is no baseline, and for the baseline itself.
        p: how often chance alone makes such a difference (Mann and Whitney, 1947); None where
            there is nothing to compare.
    """

    after: Timing
    verdict: str
    seconds: float | None = None
    relative: float | None = None
    p: float | None = None


def compare(
    before: list[Timing], after: list[Timing], threshold: float = THRESHOLD
) -> list[Change]:
    """Compare the timings that two runs have in common.

    The processes are what is compared, by the median of each: rounds within one are not
    independent. Both are taken relative to the baseline of their own run: two runs meet two states
    of the same machine, which no test on seconds could tell from a change.

    Args:
        before: timings of the earlier run.
        after: of the later one.
        threshold: smallest change that counts, as a share.

    Raises:
        UsageError: they have nothing in common, or another baseline, or too few processes for any
            verdict; or the threshold is no share.
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
    for a, b in timed:
        _check(a, b)
    return [
        _change(a, b, before, after, threshold) if b.seconds else Change(b, LOST) for a, b in pairs
    ]


def others(before: Sequence[Timing], after: Sequence[Timing]) -> list[str]:
    """Return the names of contestants that took turns in one run only, of what both have timed."""
    jobs = {one.job for one in before} & {one.job for one in after}
    was, now = ({one.implementation for one in run if one.job in jobs} for run in (before, after))
    return sorted(was ^ now)


def _key(one: Timing) -> tuple[Any, ...]:
    return one.id, one.threads


def _check(a: Timing, b: Timing) -> None:
    if a.baseline != b.baseline:
        raise UsageError(
            f"the baselines differ ({a.baseline or 'none'} and {b.baseline or 'none'} in {b.id}): "
            "compare runs with the same one"
        )
    m, n = len(a.seconds), len(b.seconds)
    if 2 / math.comb(m + n, n) >= CHANCE:
        raise UsageError(
            f"{m} and {n} processes are too few for the Mann-Whitney test to tell anything: "
            "make runs with --processes 4 or more"
        )


def _change(
    a: Timing, b: Timing, before: list[Timing], after: list[Timing], threshold: float
) -> Change:
    from scipy.stats import mannwhitneyu

    assert a.median is not None
    assert b.median is not None
    seconds = b.median / a.median
    own, other = _relative(a, before), _relative(b, after)
    if own is None or other is None:
        return Change(b, UNKNOWN, seconds)
    relative = float(np.median(other) / np.median(own))
    p = float(mannwhitneyu(own, other).pvalue)
    floor = max(noise.floor(a, before), noise.floor(b, after))
    told = p < CHANCE and abs(relative - 1) > max(threshold, floor)
    verdict = (SLOWER if relative > 1 else FASTER) if told else SAME
    return Change(b, verdict, seconds, relative, p)


def _relative(one: Timing, run: list[Timing]) -> Array | None:
    """Return the median quotient to the baseline for each process; None if there is none."""
    wanted = one.baseline, one.job
    baseline = next((b for b in run if b.seconds and (b.implementation, b.job) == wanted), None)
    if baseline is None or baseline.implementation == one.implementation:
        return None
    pairs = zip(one.seconds, baseline.seconds, strict=True)
    return np.array([np.median(np.divide(own, base)) for own, base in pairs])
