"""The pictures of a report, made with Altair; aggregated here, so that they stay small.

drawing  what all of them share
checks   errors: over time, and how they are distributed
timings  times: against the baseline, over sizes, under the roof of the machine
runs     several runs
"""

from typing import Any

import vl_convert

from rnnparity.records.run import Run
from rnnparity.records.timing import BOUND, IMPLEMENTATION
from rnnparity.report import summary
from rnnparity.report.charts import checks, timings
from rnnparity.report.charts.drawing import PALETTES, who_is
from rnnparity.report.charts.runs import charts_of_runs
from rnnparity.report.times import roof, timed

__all__ = ["PALETTES", "charts", "charts_of_runs", "svg"]


def charts(run: Run) -> dict[str, dict[str, Any]]:
    """Return the specifications by name; only those that have something to show."""
    times = timed(run)
    contestants = [t.implementation for t in times if t.role == IMPLEMENTATION]
    products = [t.implementation for t in times if t.role == BOUND]
    names = [*summary.names(run), *contestants]
    where, everybody, who = timings.where_of(times), who_is(names), who_is(names, contestants)
    bounds = who_is([*names, *products], [*contestants, *products])
    made = {
        "drift": checks.drift(run.records, everybody),
        "distribution": checks.distribution(run.records, everybody),
        "ratios": timings.ratios(times, where, who),
        "steps": timings.steps(times, where, who),
        "widths": timings.widths(times, where, who),
        "crossover": timings.crossover(times, who),
        "roofline": timings.roofline(times, roof(run), bounds),
        "first_call": timings.first_call(times, where, who),
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
