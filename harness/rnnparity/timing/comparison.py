"""Two runs compared: what became slower or faster, and whether that may be chance."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnparity.defaults import THRESHOLD
from rnnparity.errors import UsageError
from rnnparity.records import Timing
from rnnparity.timing import noise
from rnnparity.timing.contestants import IMPLEMENTATION

# A change is told if chance would make it less often than this, and it is large enough.
CHANCE = 0.05


@dataclass(frozen=True)
class Change:
    """What became of one timing.

    Attributes:
        after: the timing in the later run.
        seconds: the median's factor: 1.1 is 10% slower.
        relative: the same for the quotient to the baseline of the same run, which is what decides;
            equal to `seconds` where there is none.
        p: how often chance alone makes such a difference (Mann and Whitney, 1947).
        noise: the larger noise floor of the two runs at this case.
        verdict: "slower", "faster" or "same".
    """

    after: Timing
    seconds: float
    relative: float
    p: float
    noise: float
    verdict: str


def compare(
    before: list[Timing], after: list[Timing], threshold: float = THRESHOLD
) -> list[Change]:
    """Compare the timings that two runs have in common.

    The processes are what is compared, by the median of each: rounds within one are not
    independent. Both are taken relative to the baseline of their own run, where it was timed: two
    runs meet two states of the same machine, which no test on seconds could tell from a change.

    Raises:
        UsageError: they have nothing in common.
    """
    was = {_key(one): one for one in before if one.seconds}
    pairs = [(was[_key(one)], one) for one in after if one.seconds and _key(one) in was]
    changes = [
        _change(a, b, before, after, threshold) for a, b in pairs if b.role == IMPLEMENTATION
    ]
    if not changes:
        raise UsageError("the two runs have no timing in common: compare runs of the same preset")
    return changes


def _key(one: Timing) -> tuple[Any, ...]:
    return one.id, one.threads


def _change(
    a: Timing, b: Timing, before: list[Timing], after: list[Timing], threshold: float
) -> Change:
    from scipy.stats import mannwhitneyu

    assert a.median is not None
    assert b.median is not None
    own, other = _relative(a, before), _relative(b, after)
    if own is None or other is None or b.implementation == b.baseline:
        own, other = _medians(a), _medians(b)
    relative = float(np.median(other) / np.median(own))
    p = float(mannwhitneyu(own, other).pvalue)
    floor = max(noise.floor(a, before), noise.floor(b, after))
    told = p < CHANCE and abs(relative - 1) > max(threshold, floor)
    verdict = ("slower" if relative > 1 else "faster") if told else "same"
    return Change(b, b.median / a.median, relative, p, floor, verdict)


def _medians(one: Timing) -> np.ndarray[Any, Any]:
    return np.array([np.median(seconds) for seconds in one.seconds])


def _relative(one: Timing, run: list[Timing]) -> np.ndarray[Any, Any] | None:
    """Return the median quotient to the baseline for each process."""
    wanted = one.baseline, one.job
    baseline = next((b for b in run if b.seconds and (b.implementation, b.job) == wanted), None)
    if baseline is None:
        return None
    pairs = zip(one.seconds, baseline.seconds, strict=True)
    return np.array([np.median(np.divide(own, base)) for own, base in pairs])
