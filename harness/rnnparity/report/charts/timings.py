"""Pictures of times: against the baseline, over sizes, under the roof of the machine."""

import statistics
from collections.abc import Callable
from typing import Any

import altair as alt

from rnnparity.records.timing import BOUND, IMPLEMENTATION, Timing, size
from rnnparity.report import crossover as against_cpu
from rnnparity.report.charts.drawing import (
    SECONDS,
    WIDTH,
    Encoding,
    Rows,
    dashed,
    lines,
    log_x,
    log_y,
    points,
    sized,
)
from rnnparity.report.times import Roof, has_roof

Where = Callable[[Timing], str]


def where_of(timings: list[Timing]) -> Where:
    """Return what a size needs so that no two kinds, devices, dtypes or threads share a place."""
    places = {(t.cell, t.device, t.dtype, t.threads) for t in timings}
    several = [len({place[i] for place in places}) > 1 for i in range(4)]

    def words(t: Timing) -> str:
        place = (t.cell.upper(), t.device, t.dtype, f"{t.threads} threads")
        return "".join(f" {w}" for w, s in zip(place, several, strict=True) if s)

    return words


def ratios(timings: list[Timing], where: Where, who: Encoding) -> Any:
    """How many times as fast as the baseline, with intervals, a panel for each mode."""
    rows: Rows = [
        {
            "implementation": t.implementation,
            "size": size(t) + where(t),
            "mode": t.mode,
            "ratio": t.ratio,
            "low": t.ratio_low,
            "high": t.ratio_high,
        }
        for t in timings
        if t.ratio is not None and t.role == IMPLEMENTATION and t.implementation != t.baseline
    ]
    if not rows:
        return None
    sizes = list(dict.fromkeys(row["size"] for row in rows))
    base = alt.Chart().encode(
        y=alt.Y("size:N", sort=sizes, title=None),
        yOffset="implementation:N",
        color=who["color"],
    )
    marks = base.mark_point(filled=True, size=50).encode(
        x=log_x("ratio:Q", title="speed-up over the baseline"),
        shape=who["shape"],
        tooltip=["implementation:N", "size:N", "mode:N", "ratio:Q", "low:Q", "high:Q"],
    )
    bars = base.mark_rule().encode(x="low:Q", x2="high:Q")
    one = alt.Chart().mark_rule(strokeDash=[4, 4], aria=False).encode(x=alt.datum(1))
    return (
        alt.layer(bars, marks, one, data=alt.Data(values=rows))
        .properties(width=WIDTH - 120, height=alt.Step(24, **{"for": "position"}))
        .facet(row=alt.Row("mode:N", title=None))
        .resolve_scale(y="independent", yOffset="independent")
        .properties(title="Speed-up over the baseline at each T,B,I,H, with 95% intervals")
    )


def steps(timings: list[Timing], where: Where, who: Encoding) -> Any:
    """Seconds per call against the number of time steps."""
    rows: Rows = [
        {
            "implementation": t.implementation,
            "T": T,
            "seconds": seconds,
            "size": ",".join(size(t).split(",")[1:]) + where(t),
        }
        for t in timings
        if t.role == IMPLEMENTATION
        for T, seconds in t.steps
    ]
    if not rows:
        return None
    sizes = list(dict.fromkeys(row["size"] for row in rows))
    chosen = alt.selection_point(
        name="chosen",
        fields=["size"],
        bind=alt.binding_select(options=sizes, name="B,I,H "),
        value=[{"size": sizes[0]}],
    )
    drawn = lines(
        rows,
        who,
        x=alt.X("T:Q", scale=alt.Scale(type="log", nice=False), title="time steps"),
        y=log_y("seconds:Q", title="seconds per call", axis=SECONDS),
        tooltip=["implementation:N", "T:Q", "seconds:Q"],
    )
    chart = drawn.transform_filter(chosen).add_params(chosen)
    return sized(chart, "Seconds per call against time steps")


def widths(timings: list[Timing], where: Where, who: Encoding) -> Any:
    """Seconds per step against the hidden size."""
    rows: Rows = [
        {
            "implementation": t.implementation,
            "H": t.definition.config.hidden_size,
            "seconds": t.median / t.definition.T,
            "size": size(t) + where(t),
        }
        for t in timings
        if t.role == IMPLEMENTATION and t.mode == "forward" and t.definition and t.median
    ]
    if not rows:
        return None
    chart = points(
        rows,
        who,
        x=log_x("H:Q", title="hidden size"),
        y=log_y("seconds:Q", title="seconds per step", axis=SECONDS),
        tooltip=["implementation:N", "size:N", "seconds:Q"],
    )
    return sized(chart, "Seconds per step against the hidden size, forward")


def crossover(timings: list[Timing], who: Encoding) -> Any:
    """How many times as fast as on the CPU an implementation is, against what a step has to do."""
    rows = against_cpu.rows(timings)
    if not rows:
        return None
    drawn = points(
        rows,
        who,
        x=log_x("work:Q", title="operations per step"),
        y=log_y("times:Q", title="speed-up over the CPU"),
        size=alt.Size("T:Q", scale=alt.Scale(type="log", range=[30, 140]), legend=None),
        tooltip=["implementation:N", "size:N", "times:Q"],
    )
    return sized(
        drawn + dashed([{"times": 1.0}], y="times:Q"),
        "Against the same implementation on the CPU (dashed); larger marks: more steps",
    )


def roofline(timings: list[Timing], best: Roof | None, who: Encoding) -> Any:
    """What is reached of what this machine can do."""
    rows: Rows = [
        {
            "implementation": t.implementation,
            "intensity": t.flop / t.bytes,
            "gflops": t.flop / t.median / 1e9,
            "size": size(t),
        }
        for t in timings
        if has_roof(t) and t.role in (IMPLEMENTATION, BOUND) and t.flop and t.bytes and t.median
    ]
    if not rows or best is None:
        return None
    peak, copied = best.product_flop_per_second / 1e9, best.copy_bytes_per_second
    low = min(row["intensity"] for row in rows) / 1.5
    high = max(row["intensity"] for row in rows) * 1.5
    roof = [
        {"intensity": x, "gflops": min(peak, x * copied / 1e9)}
        for x in sorted({low, peak * 1e9 / copied, high})
        if low <= x <= high
    ]
    drawn = points(
        rows,
        who,
        x=log_x("intensity:Q", title="operations per byte that must move"),
        y=log_y("gflops:Q", title="GFLOP/s"),
        tooltip=["implementation:N", "size:N", "gflops:Q", "intensity:Q"],
    )
    return sized(
        drawn + dashed(roof, x="intensity:Q", y="gflops:Q"),
        "Operations per second, under this machine's best product and copy (dashed): CPU, float32",
    )


def first_call(timings: list[Timing], where: Where, who: Encoding) -> Any:
    """The first call against the steady state."""
    rows: Rows = [
        {
            "implementation": t.implementation,
            "size": size(t) + where(t),
            "first": statistics.median(t.first_call),
            "steady": t.median,
        }
        for t in timings
        if t.role == IMPLEMENTATION and t.first_call and t.median and t.mode == "forward"
    ]
    if not rows:
        return None
    chart = points(
        rows,
        who,
        x=log_x("steady:Q", title="seconds per call", axis=SECONDS),
        y=log_y("first:Q", title="seconds of the first call", axis=SECONDS),
        tooltip=["implementation:N", "size:N", "first:Q", "steady:Q"],
    )
    return sized(chart, "The first call, compilation included, against later ones")
