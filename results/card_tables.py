"""Make Markdown of what `card_kernels.py` measured.

    python results/card_tables.py results/<card>/kernels.jsonl > results/<card>/kernels.md

What was not measured is a dash, or has no table. Other layouts of triton-fused, the host's time per
call and a profile's kernels have tables where they were measured besides.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

Row = dict[str, Any]

MODES = "forward", "gradients"
NAMES = "triton-fused", "torch-graph", "torch-loop"

# A product of the state and W^T as it lies in memory, and the other ways that torch-graph tries.
PLAIN = "whole, columns"
WAYS = "whole, rows", "by rows, columns", "by rows, rows", "by columns, rows"


def tables(rows: Sequence[Row]) -> Iterator[str]:
    """Write rows as Markdown, a line at a time."""
    (machine,) = _of(rows, "machine")
    yield (
        f"{machine['card']}; PyTorch {machine['torch']}, CUDA {machine['cuda']}, "
        f"cuDNN {machine['cudnn']}, Triton {machine['triton']}. {machine.get('note', '')}".rstrip()
    )
    yield from _checks(_of(rows, "check"))
    times = [row for row in _of(rows, "time") if "layout" not in row]
    baseline = next(row["impl"] for row in times if row["impl"].startswith("torch.nn."))
    names = [name for name in NAMES if any(row["impl"] == name for row in times)]
    for mode in MODES:
        here = [row for row in times if row["mode"] == mode]
        yield from _ratios(here, mode, baseline, names)
    if "torch-graph" in names:
        yield from _graphs(times)
    yield from _times(times, baseline, names)
    if _of(rows, "product"):
        yield from _products(_of(rows, "product"))
    if any("layout" in row for row in rows if row["phase"] == "time"):
        yield from _layouts([row for row in _of(rows, "time") if row["impl"] == NAMES[0]])
    hosts = _of(rows, "host")
    if hosts:
        yield from _table("The host's time per call at T = 1, us:", "H", "of", *MODES)
        for row in hosts:
            yield _line(row["H"], row["impl"], *(f"{row[mode]:.1f}" for mode in MODES))
    profiles = _of(rows, "profile")
    if profiles:
        yield from _table("Kernels of at least 10 us in a call with gradients:", "H", "of", "us")
        for row in profiles:
            long = (f"`{name}` {us:.1f}" for name, us in row["kernels"] if us >= 10)
            yield _line(row["H"], row["impl"], ", ".join(long))


def _checks(rows: Sequence[Row]) -> Iterator[str]:
    yield from _table(
        "Against float64, the largest error as a part of the largest element:",
        *("checked", "dtype", "nonlinearity", "cases", "not ok", "largest error"),
    )
    for kind, found in groupby(sorted(rows, key=_kind), _kind):
        here = list(found)
        wrong = sum(not row["ok"] for row in here)
        yield _line(*kind, len(here), wrong, f"{max(row['error'] for row in here):.1e}")


def _ratios(rows: Sequence[Row], mode: str, baseline: str, names: Sequence[str]) -> Iterator[str]:
    title = f"T,B,H; how many times as fast as {baseline}, {mode}:"
    yield from _table(title, mode, baseline, "a step", *names)
    for (H, T, B), found in groupby(sorted(rows, key=_size), _size):
        us = {row["impl"]: row["us"] for row in found}
        if baseline not in us:
            continue
        others = (f"{us[baseline] / us[name]:.2f}" if name in us else "-" for name in names)
        base = us[baseline]
        yield _line(f"{T},{B},{H}", f"{base:.1f} us", f"{base / T:.2f} us", *others)


def _graphs(rows: Sequence[Row]) -> Iterator[str]:
    title = "T,B,H; a step, us, and how many times as fast torch-graph is as torch-loop:"
    yield from _table(title, "graph", "mode", "torch-loop", "torch-graph", "times as fast")
    us = {(_size(row), row["mode"], row["impl"]): row["us"] for row in rows}
    for (size, mode, name), graph in sorted(us.items()):
        loop = us.get((size, mode, "torch-loop"))
        if name == "torch-graph" and loop is not None:
            H, T, B = size
            steps = f"{loop / T:.2f}", f"{graph / T:.2f}"
            yield _line(f"{T},{B},{H}", mode, *steps, f"{loop / graph:.2f}")


def _times(rows: Sequence[Row], baseline: str, names: Sequence[str]) -> Iterator[str]:
    yield from _table("Medians, and the least and most, us:", "T,B,H", "mode", baseline, *names)
    for mode in MODES:
        here = sorted((row for row in rows if row["mode"] == mode), key=_size)
        for (H, T, B), found in groupby(here, _size):
            cells = {row["impl"]: _spread(row) for row in found}
            yield _line(f"{T},{B},{H}", mode, *(cells.get(one, "-") for one in (baseline, *names)))


def _products(rows: Sequence[Row]) -> Iterator[str]:
    us = {(row["B"], row["H"], row["way"]): row["us"] for row in rows}
    widths, batches = sorted({row["H"] for row in rows}), sorted({row["B"] for row in rows})
    title = "A step's product alone, us: plain / fastest of four others:"
    yield from _table(title, "B", *(f"H={H}" for H in widths))
    for B in batches:
        others = (min(us[B, H, way] for way in WAYS) for H in widths)
        plain = (us[B, H, PLAIN] for H in widths)
        yield _line(B, *(f"{a:.1f} / {b:.1f}" for a, b in zip(plain, others, strict=True)))


def _layouts(rows: Sequence[Row]) -> Iterator[str]:
    laid = {_size(row) for row in rows if "layout" in row}
    title = "triton-fused in other layouts (rows of W_hh, terms side by side, warps), us:"
    yield from _table(title, "size", "layout", *MODES)
    for H, T, B in sorted(laid):
        times: dict[tuple[str, bool], dict[str, float]] = {}
        for row in rows:
            if _size(row) == (H, T, B):
                layout = row.get("layout") or [row["plan"][i] for i in (3, 5, 6)]
                key = ",".join(map(str, layout)), "layout" not in row
                times.setdefault(key, {})[row["mode"]] = row["us"]
        for (layout, chosen), found in sorted(times.items(), key=lambda one: min(one[1].values())):
            name = f"{layout}, chosen" if chosen else layout
            cells = (f"{found[mode]:.1f}" if mode in found else "-" for mode in MODES)
            yield _line(f"{T},{B},{H}", name, *cells)


def _of(rows: Sequence[Row], phase: str) -> list[Row]:
    return [row for row in rows if row["phase"] == phase]


def _kind(row: Row) -> tuple[str, ...]:
    return row["impl"], row.get("dtype", "float32"), row.get("kind", "tanh")


def _size(row: Row) -> tuple[int, ...]:
    return row["H"], row["T"], row["B"]


def _spread(row: Row) -> str:
    most = f" to {row['most']:.1f}" if "most" in row else " at least"
    return f"{row['us']:.1f} ({row['least']:.1f}{most})"


def _table(title: str, *columns: str) -> Iterator[str]:
    yield from ("", title, "", _line(*columns), _line(*("---" for _ in columns)))


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    sys.stdout.writelines(f"{line}\n" for line in tables([json.loads(line) for line in lines]))
