"""What all pictures share: colours, scales, lines and marks of implementations."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import altair as alt

Rows = list[dict[str, Any]]
Encoding = dict[str, Any]

# Colours in the order of implementations, on a light and on a dark ground.
_LIGHT = "#0a58a8 #b45309 #15803d #b91c1c #6d28d9 #7a6200 #0e7490 #a21a6b #4b5563 #4d7c0f"
_DARK = "#7fb8ff #ffb86b #7ee0a3 #ff9aa2 #d7b3ff #f4e07a #8be3e3 #f5a9d6 #c9ced6 #b5d17a"
PALETTES = {"light": _LIGHT.split(), "dark": _DARK.split()}

WIDTH = 640

LOG = alt.Scale(type="log")
LOG_AXIS = alt.Axis(tickCount=6)
SECONDS = alt.Axis(format="~s", tickCount=6)
log_x, log_y = partial(alt.X, scale=LOG, axis=LOG_AXIS), partial(alt.Y, scale=LOG, axis=LOG_AXIS)


def who_is(names: list[str], shown: Sequence[str] = ()) -> Encoding:
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


def lines(rows: Rows, who: Encoding, **encoding: Any) -> Any:
    """Draw a line with marks for every implementation. The marks alone are in the legend."""
    base = alt.Chart(alt.Data(values=rows)).encode(**encoding)
    color = who["color"].copy()
    color["legend"] = None
    return alt.layer(
        base.mark_line().encode(color=color), base.mark_point(filled=True, size=45).encode(**who)
    ).resolve_legend(color="independent", shape="independent")


def points(rows: Rows, who: Encoding, **encoding: Any) -> Any:
    """Draw a mark for every row."""
    base = alt.Chart(alt.Data(values=rows)).mark_point(filled=True, size=55)
    return base.encode(**who, **encoding)


def dashed(rows: Rows, **encoding: Any) -> Any:
    """Draw what others are held against: a line, or a rule where it is of one coordinate."""
    base = alt.Chart(alt.Data(values=rows))
    drawn = base.mark_line if len(encoding) > 1 else base.mark_rule
    return drawn(strokeDash=[4, 4], aria=False).encode(**encoding)


def sized(chart: Any, title: str) -> Any:
    """Return a chart as wide as its page, under a title."""
    return chart.properties(width="container", height=300, title=alt.Title(title, limit=900))
