"""Pictures of several runs: what became of every implementation."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from rnnparity.records.run import Run
from rnnparity.report import summary
from rnnparity.report.charts.drawing import Rows, lines, log_y, sized, who_is
from rnnparity.report.summary import largest_by_implementation
from rnnparity.report.times import speed


def charts_of_runs(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Return the specifications by name, the earliest run first."""
    names = [name for run in runs for name in summary.names(run)]
    who, order = who_is(names), [run.name for run in runs]
    x = alt.X("run:N", sort=order, title=None, axis=alt.Axis(labelAngle=0, labelLimit=160))
    units = [
        {"run": run.name, "implementation": name, "units": z}
        for run in runs
        for name, z in largest_by_implementation(run).items()
    ]
    means: dict[str, Rows] = {}
    for run in runs:
        for row in speed(run):
            where = f"{row['device']}, {row['dtype']}, {row['mode']}, threads: {row['threads']}"
            means.setdefault(where, []).append({"run": run.name, **row})
    made = {}
    if units:
        y = log_y("units:Q", title="largest error, units")
        drawn = lines(units, who, x=x, y=y, tooltip=["implementation:N", "run:N", "units:Q"])
        made["units"] = sized(drawn, "The largest error of each run, in units of rounding")
    for i, (where, rows) in enumerate(means.items()):
        y = log_y("mean:Q", title="speed-up over the baseline")
        drawn = lines(rows, who, x=x, y=y, tooltip=["implementation:N", "run:N", "mean:Q"])
        made[f"speed-{i}"] = sized(drawn, f"Geometric mean over sizes: {where}")
    return {name: chart.to_dict() for name, chart in made.items()}
