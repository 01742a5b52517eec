"""Pictures of errors: over time, and how they are distributed."""

import math
from typing import Any

import altair as alt

from rnnparity.judging.difference import BIN
from rnnparity.judging.limit import LIMIT
from rnnparity.records.check import Record
from rnnparity.report.charts.drawing import LOG_AXIS, Encoding, Rows, dashed, lines, log_y, sized

# Points of relative time in the picture of drift.
POINTS = 24


def drift(records: list[Record], who: Encoding, whose: str = "those that are right") -> Any:
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
    rows: Rows = [
        {"implementation": name, "time": at / POINTS, "units": max(z, 0.01)}
        for (name, at), z in sorted(largest.items())
    ]
    drawn = lines(
        rows,
        who,
        x=alt.X("time:Q", title="share of the sequence", axis=alt.Axis(format="%")),
        y=log_y("units:Q", title="largest error, units"),
        tooltip=["implementation:N", "time:Q", "units:Q"],
    )
    return sized(
        drawn + dashed([{"limit": LIMIT}], y="limit:Q"),
        f"Error of the output over time, float32, of {whose}: the largest of all cases; the dashed "
        "line is the limit",
    )


def distribution(records: list[Record], who: Encoding) -> Any:
    """How errors are distributed, against what rounding predicts at most."""
    counts: dict[str, list[float]] = {}
    for r in _judged(records):
        for i, count in enumerate(r.quantities["output"].histogram):
            own = counts.setdefault(r.implementation, [])
            own.extend([0.0] * (i + 1 - len(own)))
            own[i] += count
    if not counts:
        return None
    rows: Rows = [
        {"implementation": name, "units": (i + 0.5) * BIN, "share": count / sum(own) / BIN}
        for name, own in counts.items()
        for i, count in enumerate(own)
        if count
    ]
    predicted = [
        {"units": z / 20, "share": math.sqrt(2 / math.pi) * math.exp(-((z / 20) ** 2) / 2)}
        for z in range(90)
    ]
    drawn = lines(
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
    return sized(
        drawn + dashed(predicted, x="units:Q", y="share:Q"),
        "How errors of those that are right are distributed; dashed: a normal distribution of one "
        "unit, which is what rounding predicts at most",
    )


def _judged(records: list[Record]) -> list[Record]:
    return [r for r in records if r.verdict.was_judged and "output" in r.quantities]
