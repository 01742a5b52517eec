"""What the samples of all processes say: a timing's figures, and what speaks against them."""

from collections.abc import Iterable

import msgspec
import numpy as np

from rnnparity.records.environment import usable_cores
from rnnparity.records.timing import Timing
from rnnparity.timing import statistics
from rnnparity.timing.turns import Measured

# Inputs seen before may lie in a cache: so many times as fast, surely, and the results were kept.
# And so many cores more than threads were asked for are not noise.
SEEN_FASTER, EXTRA_CORES = 2.0, 0.5


def suspicion(measured: list[Measured], threads: int, device: str = "cpu") -> str:
    """Return why times are not what they seem, or "" if nothing speaks against them for sure."""
    seen = statistics.ratio([m.fresh for m in measured], [m.seen for m in measured])
    if seen.low > SEEN_FASTER:
        faster = f"calls on inputs seen before are {seen.value:.3g} times as fast"
        between = f"({seen.low:.3g} to {seen.high:.3g})"
        return f"{faster} {between}: results are kept, and not computed"
    cores = _busy_cores(measured)
    # Where every core may be used, more of them can only be what a host has taken away and counted.
    # A card's driver may poll with any number of them.
    may_tell = device == "cpu" and usable_cores() > threads
    if may_tell and cores.low > threads + EXTRA_CORES:
        between = f"({cores.low:.1f} to {cores.high:.1f})"
        return f"kept {cores.value:.1f} {between} cores busy, {threads} were asked for"
    return ""


def with_times(
    timing: Timing,
    measured: list[Measured],
    baseline: list[Measured] | None,
    points: list[tuple[int, float]],
) -> Timing:
    """Return a timing with what comes from its samples."""
    seconds = tuple(one.seconds for one in measured)
    median, T = statistics.median(seconds), timing.definition.T if timing.definition else 0
    of = None if baseline is None else statistics.ratio([one.seconds for one in baseline], seconds)
    seen = statistics.ratio([one.fresh for one in measured], [one.seen for one in measured])
    clocks = [clock for one in measured for clock in one.clock]
    steps = (*points, (T, median)) if points else ()
    line = statistics.line(steps) if steps else None
    return msgspec.structs.replace(
        timing,
        seconds=seconds,
        calls=tuple(one.calls for one in measured),
        median=median,
        ratio=of and of.value,
        ratio_low=of and of.low,
        ratio_high=of and of.high,
        first_call=tuple(one.first_call for one in measured),
        prepare=tuple(one.prepare for one in measured),
        seen_faster=seen.value,
        with_transfer=_median_of(one.transfer for one in measured),
        on_device=_median_of(one.on_device for one in measured),
        handing_over=_median_of(one.handing_over for one in measured),
        clock=(min(clocks), max(clocks)) if clocks else None,
        throttled=sum(one.throttled for one in measured),
        cores=_busy_cores(measured).value,
        peak_memory=max(
            (one.peak_memory for one in measured if one.peak_memory is not None), default=None
        ),
        steps=steps,
        fixed=line and line.fixed,
        per_step=line and line.per_step,
    )


def _median_of(samples: Iterable[tuple[float, ...]]) -> float | None:
    """Return the median over all processes; None if none has any."""
    every = [value for one in samples for value in one]
    return float(np.median(every)) if every else None


def _busy_cores(measured: list[Measured]) -> statistics.Ratio:
    """Return CPU time over wall time: of all blocks, since CPU time is counted in coarse ticks."""
    seconds = [one.calls * np.asarray(one.seconds) for one in measured]
    cpu = [s * np.asarray(one.cores) for s, one in zip(seconds, measured, strict=True)]
    return statistics.quotient([c.tolist() for c in cpu], [s.tolist() for s in seconds])
