"""The pictures of a report, made with Altair; aggregated here, so that they stay small.

drawing  what all of them share
checks   errors: over time, and how they are distributed
timings  times: against the baseline, over sizes, under the roof of the machine
runs     several runs
"""

import re
from typing import Any

import msgspec
import vl_convert

from rnnparity.records.run import Run
from rnnparity.records.timing import BOUND, IMPLEMENTATION, Timing
from rnnparity.report import failing, summary
from rnnparity.report.charts import checks, timings
from rnnparity.report.charts.drawing import PALETTES, who_is
from rnnparity.report.charts.runs import charts_of_runs
from rnnparity.report.times import roof, timed

__all__ = ["PALETTES", "charts", "charts_of_runs", "inline", "svg", "title"]

# Pixels that a picture in a page is drawn at; the page scales it.
DRAWN = 860


def charts(run: Run) -> dict[str, dict[str, Any]]:
    """Return the specifications by name; only those that have something to show."""
    wrong = failing.names(run)
    right = [r for r in run.records if r.implementation not in wrong]
    bad = [r for r in run.records if r.implementation in wrong]
    times = [_marked(t, wrong) for t in timed(run)]
    contestants = [t.implementation for t in times if t.role == IMPLEMENTATION]
    products = [t.implementation for t in times if t.role == BOUND]
    checked = summary.names(run)
    names = [*(failing.marked(name, wrong) for name in checked), *contestants]
    where, who = timings.where_of(times), who_is(names, contestants)
    rightly = who_is(checked, [name for name in checked if name not in wrong])
    wrongly = [name for name in checked if name in wrong][: len(PALETTES["light"])]
    bounds = who_is([*names, *products], [*contestants, *products])
    made = {
        "drift": checks.drift(right, rightly),
        "distribution": checks.distribution(right, rightly),
        "drift_failing": checks.drift(
            [r for r in bad if r.implementation in wrongly],
            who_is(wrongly),
            f"those that fail{', the first ten' if len(wrongly) < len(wrong) else ''}",
        ),
        "ratios": timings.ratios(times, where, who),
        "steps": timings.steps(times, where, who),
        "widths": timings.widths(times, where, who),
        "crossover": timings.crossover(times, who),
        "roofline": timings.roofline(times, roof(run), bounds),
        "first_call": timings.first_call(times, where, who),
    }
    return {name: chart.to_dict() for name, chart in made.items() if chart is not None}


def _marked(t: Timing, wrong: set[str]) -> Timing:
    """Return a timing under a name that says if its implementation fails somewhere."""
    told = {
        name: failing.marked(getattr(t, name), wrong) for name in ("implementation", "baseline")
    }
    return msgspec.structs.replace(t, **told)


def inline(name: str, spec: dict[str, Any]) -> str:
    """Return a picture to stand in a page: it takes the page's colours, light or dark.

    Args:
        name: of the picture, which makes its ids differ from those of others in the page.
        spec: what to draw; without a title, which is the page's to write.
    """
    sized = {"width": DRAWN} if spec.get("width") == "container" else {}
    ink, line = (f"#{n:06x}" for n in (0x010203, 0x040506))  # in nobody's palette
    axis = {"labelColor": ink, "titleColor": ink, "gridColor": line, "domainColor": line}
    config = {
        "axis": axis | {"tickColor": line},
        "legend": {"labelColor": ink, "columns": 4},
        "header": {"labelColor": ink, "titleColor": ink},
        "view": {"stroke": line},
        "rule": {"color": ink},
        "range": {"category": PALETTES["light"]},
    }
    plain = {key: value for key, value in spec.items() if key != "title"}
    drawn: str = vl_convert.vegalite_to_svg(
        plain | sized | {"background": "transparent", "config": config}
    )
    for i, colour in enumerate(PALETTES["light"]):
        drawn = drawn.replace(f'"{colour}"', f'"var(--c{i})"')
    drawn = drawn.replace(f'"{ink}"', '"var(--ink)"').replace(f'"{line}"', '"var(--line)"')
    return re.sub(r'(id="|url\(#)(?=clip|gradient)', rf"\1{name}-", drawn)


def title(spec: dict[str, Any]) -> str:
    """Return what a picture shows."""
    found = spec.get("title", "")
    return str(found["text"] if isinstance(found, dict) else found)


def svg(spec: dict[str, Any], width: int) -> str:
    """Return a picture of its own, on white; `width` in pixels, of a chart that has none."""
    sized = {"width": width} if spec.get("width") == "container" else {}
    config = {"range": {"category": PALETTES["light"]}, "legend": {"columns": 4}}
    drawn: str = vl_convert.vegalite_to_svg(
        spec | sized | {"background": "white", "config": config}
    )
    return drawn
