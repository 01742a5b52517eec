"""The pictures of a report, made with Altair; aggregated here, so that they stay small."""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import altair as alt
import vl_convert

from rnnparity.judging.difference import BIN
from rnnparity.judging.limit import LIMIT
from rnnparity.records.check import Record
from rnnparity.records.run import Run
from rnnparity.records.timing import BOUND, IMPLEMENTATION, Timing, size
from rnnparity.report import crossover, summary
from rnnparity.report.summary import Roof, largest_by_implementation, roof, speed, timed, under_roof
from rnnparity.verdicts import Verdict

Encoding = dict[str, Any]
Where = Callable[[Timing], str]

# Colours in the order of implementations, on a light and on a dark ground.
PALETTES = {
    "light": [
        "#0a58a8",
        "#b45309",
        "#15803d",
        "#b91c1c",
        "#6d28d9",
        "#7a6200",
        "#0e7490",
        "#a21a6b",
        "#4b5563",
        "#4d7c0f",
    ],
    "dark": [
        "#7fb8ff",
        "#ffb86b",
        "#7ee0a3",
        "#ff9aa2",
        "#d7b3ff",
        "#f4e07a",
        "#8be3e3",
        "#f5a9d6",
        "#c9ced6",
        "#b5d17a",
    ],
}

# Points of relative time in the picture of drift.
POINTS = 24

WIDTH = 640

LOG = alt.Scale(type="log")
LOG_AXIS = alt.Axis(tickCount=6)
SECONDS = alt.Axis(format="~s", tickCount=6)


def charts(run: Run) -> dict[str, dict[str, Any]]:
    """Return the specifications by name; only those that have something to show."""
    times = timed(run)
    contestants = [t.implementation for t in times if t.role == IMPLEMENTATION]
    names = [*summary.names(run), *contestants]
    where = _where(times)
    everybody, who = _who(names), _who(names, contestants)
    products = [t.implementation for t in times if t.role == BOUND]
    bounds = _who([*names, *products], [*contestants, *products])
    made = {
        "drift": _drift(run.records, everybody),
        "distribution": _distribution(run.records, everybody),
        "ratios": _ratios(times, where, who),
        "steps": _steps(times, where, who),
        "widths": _widths(times, where, who),
        "crossover": _crossover(times, who),
        "roofline": _roofline(times, roof(run), bounds),
        "first_call": _first_call(times, where, who),
    }
    return {name: chart.to_dict() for name, chart in made.items() if chart is not None}


def svg(spec: dict[str, Any], width: int) -> str:
    """Return a picture of its own, on white; `width` in pixels, of a chart that has none."""
    sized = {"width": width} if spec.get("width") == "container" else {}
    config = {"range": {"category": PALETTES["light"]}, "legend": {"columns": 4}}
    drawn: str = vl_convert.vegalite_to_svg(
        spec | sized | {"background": "white", "config": config}
    )
    return drawn


def charts_of_runs(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Return what became of every implementation over several runs, the earliest first."""
    names = [name for run in runs for name in summary.names(run)]
    who, order = _who(names), [run.name for run in runs]
    x = alt.X("run:N", sort=order, title=None, axis=alt.Axis(labelAngle=0, labelLimit=160))
    units = [
        {"run": run.name, "implementation": name, "units": z}
        for run in runs
        for name, z in largest_by_implementation(run).items()
    ]
    means: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        for row in speed(run):
            where = f"{row['device']}, {row['dtype']}, {row['mode']}, threads: {row['threads']}"
            means.setdefault(where, []).append({"run": run.name, **row})
    made = {}
    if units:
        y = alt.Y("units:Q", title="largest error, units", scale=LOG, axis=LOG_AXIS)
        drawn = _lines(units, who, x=x, y=y, tooltip=["implementation:N", "run:N", "units:Q"])
        made["units"] = _sized(drawn, "The largest error of each run, in units of rounding")
    for i, (where, rows) in enumerate(means.items()):
        y = alt.Y("mean:Q", title="times as fast as the baseline", scale=LOG, axis=LOG_AXIS)
        drawn = _lines(rows, who, x=x, y=y, tooltip=["implementation:N", "run:N", "mean:Q"])
        made[f"speed-{i}"] = _sized(drawn, f"Geometric mean over sizes: {where}")
    return {name: chart.to_dict() for name, chart in made.items()}


def _where(timings: list[Timing]) -> Where:
    """Return what a size needs so that no two kinds, devices, dtypes or threads share a place."""
    places = {(t.cell, t.device, t.dtype, t.threads) for t in timings}
    several = [len({place[i] for place in places}) > 1 for i in range(4)]

    def words(t: Timing) -> str:
        place = (t.cell.upper(), t.device, t.dtype, f"{t.threads} threads")
        return "".join(f" {w}" for w, s in zip(place, several, strict=True) if s)

    return words


def _who(names: list[str], shown: Sequence[str] = ()) -> Encoding:
    """Return the colour and the shape of every implementation, in this order in all charts.

    Both, so that they are told apart without colour, too. The legend has those that are shown,
    or all.
    """
    scale = alt.Scale(domain=list(dict.fromkeys(names)))
    legend = alt.Legend(orient="bottom", title=None, values=list(dict.fromkeys(shown or names)))
    return {
        "color": alt.Color("implementation:N", scale=scale, legend=legend),
        "shape": alt.Shape("implementation:N", scale=scale, legend=legend),
    }


def _lines(rows: list[dict[str, Any]], who: Encoding, **encoding: Any) -> Any:
    """A line with marks for every implementation. The marks alone are in the legend."""
    base = alt.Chart(alt.Data(values=rows)).encode(**encoding)
    color = who["color"].copy()
    color["legend"] = None
    return alt.layer(
        base.mark_line().encode(color=color), base.mark_point(filled=True, size=45).encode(**who)
    ).resolve_legend(color="independent", shape="independent")


def _points(rows: list[dict[str, Any]], who: Encoding, **encoding: Any) -> Any:
    """A mark for every row."""
    base = alt.Chart(alt.Data(values=rows)).mark_point(filled=True, size=55)
    return base.encode(**who, **encoding)


def _judged(records: list[Record]) -> list[Record]:
    return [r for r in records if r.verdict.was_judged and "output" in r.quantities]


def _drift(records: list[Record], who: Encoding) -> Any:
    """The largest error of the output over time, float32: where does it leave?"""
    largest: dict[tuple[str, int], float] = {}
    for r in _judged(records):
        by_step = r.quantities["output"].by_step
        if r.dtype != "float32" or len(by_step) < 2:
            continue
        for i, z in enumerate(by_step):
            at = round(i / (len(by_step) - 1) * POINTS)
            key = (r.implementation, at)
            largest[key] = max(largest.get(key, 0.0), z)
    if not largest:
        return None
    rows: list[dict[str, Any]] = [
        {"implementation": name, "time": at / POINTS, "units": max(z, 0.01)}
        for (name, at), z in sorted(largest.items())
    ]
    lines = _lines(
        rows,
        who,
        x=alt.X("time:Q", title="share of the sequence", axis=alt.Axis(format="%")),
        y=alt.Y("units:Q", title="largest error, units", scale=LOG, axis=LOG_AXIS),
        tooltip=["implementation:N", "time:Q", "units:Q"],
    )
    limit = (
        alt.Chart(alt.Data(values=[{"limit": LIMIT}]))
        .mark_rule(strokeDash=[4, 4], aria=False)
        .encode(y="limit:Q")
    )
    return _sized(
        lines + limit,
        "Error of the output over time, float32, the largest of all cases; the dashed line is the "
        "limit",
    )


def _distribution(records: list[Record], who: Encoding) -> Any:
    """How errors are distributed, against what rounding predicts at most."""
    counts: dict[str, list[float]] = {}
    for r in _judged(records):
        if r.verdict == Verdict.FAIL:
            continue
        for i, count in enumerate(r.quantities["output"].histogram):
            own = counts.setdefault(r.implementation, [])
            own.extend([0.0] * (i + 1 - len(own)))
            own[i] += count
    if not counts:
        return None
    rows: list[dict[str, Any]] = [
        {"implementation": name, "units": (i + 0.5) * BIN, "share": count / sum(own) / BIN}
        for name, own in counts.items()
        for i, count in enumerate(own)
        if count
    ]
    predicted = [
        {"units": z / 20, "share": math.sqrt(2 / math.pi) * math.exp(-((z / 20) ** 2) / 2)}
        for z in range(90)
    ]
    points = _lines(
        rows,
        who,
        x=alt.X("units:Q", title="error of an element, units"),
        y=alt.Y(
            "share:Q",
            title="share of elements per unit",
            scale=alt.Scale(type="log", domain=[1e-6, 10], clamp=True),
            axis=LOG_AXIS,
        ),
        tooltip=["implementation:N", "units:Q", "share:Q"],
    )
    line = (
        alt.Chart(alt.Data(values=predicted))
        .mark_line(strokeDash=[4, 4], aria=False)
        .encode(x="units:Q", y="share:Q")
    )
    return _sized(
        points + line,
        "How errors are distributed; dashed: a normal distribution of one unit, which is what "
        "rounding predicts at most",
    )


def _ratios(timings: list[Timing], where: Where, who: Encoding) -> Any:
    """How many times as fast as the baseline, with intervals, a panel for each mode."""
    rows: list[dict[str, Any]] = [
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
    points = base.mark_point(filled=True, size=50).encode(
        x=alt.X("ratio:Q", scale=LOG, title="times as fast as the baseline", axis=LOG_AXIS),
        shape=who["shape"],
        tooltip=["implementation:N", "size:N", "mode:N", "ratio:Q", "low:Q", "high:Q"],
    )
    bars = base.mark_rule().encode(x="low:Q", x2="high:Q")
    one = alt.Chart().mark_rule(strokeDash=[4, 4], aria=False).encode(x=alt.datum(1))
    return (
        alt.layer(bars, points, one, data=alt.Data(values=rows))
        .properties(width=WIDTH - 120, height=alt.Step(24, **{"for": "position"}))
        .facet(row=alt.Row("mode:N", title=None))
        .resolve_scale(y="independent", yOffset="independent")
        .properties(title="Times as fast as the baseline at each T,B,I,H, with 95% intervals")
    )


def _steps(timings: list[Timing], where: Where, who: Encoding) -> Any:
    """Seconds per call against the number of time steps."""
    rows: list[dict[str, Any]] = [
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
    chart = (
        _lines(
            rows,
            who,
            x=alt.X("T:Q", scale=alt.Scale(type="log", nice=False), title="time steps"),
            y=alt.Y("seconds:Q", scale=LOG, title="seconds per call", axis=SECONDS),
            tooltip=["implementation:N", "T:Q", "seconds:Q"],
        )
        .transform_filter(chosen)
        .add_params(chosen)
    )
    return _sized(chart, "Seconds per call against time steps")


def _widths(timings: list[Timing], where: Where, who: Encoding) -> Any:
    """Seconds per step and sequence against the hidden size."""
    rows: list[dict[str, Any]] = []
    for t in timings:
        case = t.definition
        if t.role != IMPLEMENTATION or t.mode != "forward" or case is None or t.median is None:
            continue
        rows.append(
            {
                "implementation": t.implementation,
                "H": case.config.hidden_size,
                "seconds": t.median / case.T,
                "size": size(t) + where(t),
            }
        )
    if not rows:
        return None
    chart = _points(
        rows,
        who,
        x=alt.X("H:Q", scale=LOG, title="hidden size", axis=LOG_AXIS),
        y=alt.Y(
            "seconds:Q",
            scale=LOG,
            title="seconds per step",
            axis=SECONDS,
        ),
        tooltip=["implementation:N", "size:N", "seconds:Q"],
    )
    return _sized(chart, "Seconds per step against the hidden size, forward")


def _crossover(timings: list[Timing], who: Encoding) -> Any:
    """How many times as fast as on the CPU an implementation is, against what a step has to do."""
    rows = crossover.rows(timings)
    if not rows:
        return None
    points = _points(
        rows,
        who,
        x=alt.X("work:Q", scale=LOG, title="operations per step", axis=LOG_AXIS),
        y=alt.Y("times:Q", scale=LOG, title="times as fast as on the CPU", axis=LOG_AXIS),
        size=alt.Size("T:Q", scale=alt.Scale(type="log", range=[30, 140]), legend=None),
        tooltip=["implementation:N", "size:N", "times:Q"],
    )
    same = alt.Chart(alt.Data(values=[{"times": 1.0}])).mark_rule(strokeDash=[4, 4], aria=False)
    return _sized(
        points + same.encode(y="times:Q"),
        "Against the same implementation on the CPU (dashed); larger marks: more steps",
    )


def _roofline(timings: list[Timing], best: Roof | None, who: Encoding) -> Any:
    """What is reached of what this machine can do."""
    rows: list[dict[str, Any]] = [
        {
            "implementation": t.implementation,
            "intensity": t.flop / t.bytes,
            "gflops": t.flop / t.median / 1e9,
            "size": size(t),
        }
        for t in timings
        if under_roof(t) and t.role in (IMPLEMENTATION, BOUND) and t.flop and t.bytes and t.median
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
    points = _points(
        rows,
        who,
        x=alt.X(
            "intensity:Q",
            scale=LOG,
            title="operations per byte that must move",
            axis=LOG_AXIS,
        ),
        y=alt.Y("gflops:Q", scale=LOG, title="GFLOP/s", axis=LOG_AXIS),
        tooltip=["implementation:N", "size:N", "gflops:Q", "intensity:Q"],
    )
    line = (
        alt.Chart(alt.Data(values=roof))
        .mark_line(strokeDash=[4, 4], aria=False)
        .encode(x="intensity:Q", y="gflops:Q")
    )
    return _sized(
        points + line,
        "Operations per second, under this machine's best product and copy (dashed): CPU, float32",
    )


def _first_call(timings: list[Timing], where: Where, who: Encoding) -> Any:
    """The first call against the steady state."""
    rows: list[dict[str, Any]] = []
    for t in timings:
        if t.role == IMPLEMENTATION and t.first_call and t.median and t.mode == "forward":
            rows.append(
                {
                    "implementation": t.implementation,
                    "size": size(t) + where(t),
                    "first": statistics.median(t.first_call),
                    "steady": t.median,
                }
            )
    if not rows:
        return None
    chart = _points(
        rows,
        who,
        x=alt.X(
            "steady:Q",
            scale=LOG,
            title="seconds per call",
            axis=SECONDS,
        ),
        y=alt.Y(
            "first:Q",
            scale=LOG,
            title="seconds of the first call",
            axis=SECONDS,
        ),
        tooltip=["implementation:N", "size:N", "first:Q", "steady:Q"],
    )
    return _sized(chart, "The first call, compilation included, against later ones")


def _sized(chart: Any, title: str) -> Any:
    return chart.properties(width="container", height=300, title=alt.Title(title, limit=900))
