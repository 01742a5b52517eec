"""Draw what `results/newton.py` wrote: how many times as fast jax-newton is, against T.

    python results/newton_picture.py results/reference-newton/newton.md docs/newton.svg

One line per hidden size, a panel per batch size.
"""

import re
import sys
from pathlib import Path

import altair as alt

from rnnparity.report.charts import svg
from rnnparity.report.charts.drawing import Rows, dashed, lines, log_x, log_y, who_is

# | T,B,H | ... | ... | times as fast (low to high) |
ROW = re.compile(r"\| (\d+),(\d+),(\d+) \|[^|]*\|[^|]*\| ([\d.]+) \(")


def drawn(text: str) -> str:
    """Return the picture of a table."""
    rows: Rows = [
        {"T": int(T), "B": f"B={B}", "implementation": f"H={H}", "ratio": float(ratio)}
        for T, B, H, ratio in ROW.findall(text)
    ]
    panels = []
    for B in dict.fromkeys(row["B"] for row in rows):
        mine = [row for row in rows if row["B"] == B]
        y = log_y("ratio:Q", title="times as fast as jax-scan")
        line = lines(mine, who(rows), x=log_x("T:Q", title=f"time steps, {B}"), y=y)
        panels.append((line + dashed([{"ratio": 1}], y=y)).properties(width=280, height=260))
    return svg(alt.hconcat(*panels).to_dict(), 640)


def who(rows: Rows) -> dict[str, object]:
    """Return colour and shape of each hidden size."""
    return who_is(sorted({row["implementation"] for row in rows}, key=lambda name: int(name[2:])))


if __name__ == "__main__":
    table, picture = map(Path, sys.argv[1:])
    picture.write_text(drawn(table.read_text(encoding="utf-8")), "utf-8")
