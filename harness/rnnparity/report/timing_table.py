"""Timings in a terminal: a run's, within 80 columns, and what changed between two runs."""

from collections import Counter
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rnnparity.implementations.registry import without_kind
from rnnparity.records.run import Run
from rnnparity.records.timing import IMPLEMENTATION, Timing, size
from rnnparity.timing import noise
from rnnparity.timing.comparison import FASTER, LOST, SAME, SLOWER, UNKNOWN, Change
from rnnparity.timing.statistics import geometric_mean
from rnnparity.verdicts import Verdict

# Characters that columns of implementations share, in 80, beside the size and the baseline's time;
# and what a ratio with its interval takes.
ACROSS, RATIO = 50, 11


def show_timings(run: Run, console: Console) -> None:
    """Print a table for every device, dtype and mode, and what makes the times uncertain."""
    groups: dict[tuple[str, str, str, str], list[Timing]] = {}
    for one in run.timings:
        groups.setdefault((one.cell, one.device, one.dtype, one.mode), []).append(one)
    for (_, device, dtype, mode), timings in groups.items():
        baseline = next((one.baseline for one in timings if one.baseline), "")
        if not baseline:
            continue
        threads = timings[0].threads
        title = (
            f"{device}, {dtype}, {mode}, {threads} thread{'s' * (threads > 1)}: "
            f"times as fast as {baseline}"
        )
        rows = [one for one in timings if one.role == IMPLEMENTATION]
        names = [n for n in dict.fromkeys(one.implementation for one in rows) if n != baseline]
        for some in _across(names):
            console.print(_table(title, baseline, some, timings))
    if run.timings:
        floor = noise.largest(run.timings)
        if floor is not None:
            console.print(
                f"noise: the baseline against itself is within {floor:.1%} everywhere "
                "(95% intervals); = is a difference below it, or an interval that holds 1"
            )
        for warning in run.environment.get("timing", {}).get("warnings", []):
            console.print(f"warning: {warning}", style="yellow", soft_wrap=True)


def _across(names: Sequence[str]) -> list[list[str]]:
    """Return the names in groups whose columns fit beside each other."""
    groups: list[list[str]] = [[]]
    room = ACROSS
    for name in names:
        width = max(len(without_kind(name)), RATIO) + 1
        if groups[-1] and width > room:
            groups.append([])
            room = ACROSS
        groups[-1].append(name)
        room -= width
    return groups


def seconds(value: float) -> str:
    """Return seconds as people read them: 1.23 ms."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def headed(title: str) -> Table:
    """Return a table under a title, with as little around its columns as can be."""
    return Table(
        title=title, title_justify="left", pad_edge=False, box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )


def _table(title: str, baseline: str, names: Sequence[str], timings: list[Timing]) -> Table:
    table = headed(title)
    table.add_column("T,B,I,H", no_wrap=True)
    for name in (baseline, *names):
        table.add_column(without_kind(name), justify="right", no_wrap=True)
    ratios: dict[str, list[float]] = {name: [] for name in names}
    for case in dict.fromkeys(one.case for one in timings):
        here = {one.implementation: one for one in timings if one.case == case}
        first = here.get(baseline)
        cells = []
        for name in names:
            cells.append(_cell(here.get(name), timings))
            ratio = here[name].ratio if name in here else None
            if ratio:
                ratios[name].append(ratio)
        time = "-" if first is None or first.median is None else seconds(first.median)
        table.add_row(size(next(iter(here.values()))), time, *cells)
    if any(len(found) > 1 for found in ratios.values()):
        means = [_mean(found, max(map(len, ratios.values()))) for found in ratios.values()]
        table.add_section()
        table.add_row("geometric mean", "", *means)
    return table


def _mean(ratios: list[float], sizes: int) -> str:
    """Return the mean, and of how many sizes where others have more."""
    if not ratios:
        return "-"
    return f"{geometric_mean(ratios):.2f}" + (f" of {len(ratios)}" if len(ratios) < sizes else "")


def _cell(one: Timing | None, run: list[Timing]) -> Text:
    if one is None:
        return Text("-")
    if one.ratio is None or one.ratio_low is None or one.ratio_high is None:
        return Text("-" if one.verdict == Verdict.PASS else one.verdict, style="yellow")
    if noise.is_same(one, run):
        return Text(f"= {one.ratio:.2f}", style="dim")
    half = (one.ratio_high - one.ratio_low) / 2
    style = "green" if one.ratio > 1 else "red"
    digits = 1 if one.ratio >= 9.95 else 2
    return Text(f"{one.ratio:.{digits}f} ±{half:.{digits}f}", style=style)


def show_changes(changes: list[Change], others: list[str], console: Console) -> None:
    """Print what two runs differ by; `others` took turns in one of them only."""
    table = headed("the later run's time over the earlier's, relative to the baseline of each")
    for name in ("implementation", "T,B,I,H", "mode"):
        table.add_column(name, no_wrap=True)
    for name in ("seconds", "relative", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    styles = {SLOWER: "bold red", LOST: "bold red", FASTER: "green", SAME: "dim", UNKNOWN: "dim"}
    for change in changes:
        one = change.after
        table.add_row(
            Text(one.implementation),
            size(one),
            one.mode,
            *(_or_dash(value, ".3f") for value in (change.seconds, change.relative)),
            _or_dash(change.p, ".2g"),
            Text(change.verdict, style=styles[change.verdict]),
        )
    console.print(table)
    counts = Counter(change.verdict for change in changes)
    always = (SLOWER, FASTER, SAME)
    console.print(", ".join(f"{counts[v]} {v}" for v in styles if v in always or counts[v]))
    for change in changes:
        if change.verdict == LOST:
            one = change.after
            console.print(f"lost: {one.id}: {one.verdict}: {one.reason}", soft_wrap=True)
    if counts[UNKNOWN]:
        console.print("unknown: no baseline beside it, so that a change may be the machine's")
    if others:
        console.print(
            f"warning: {', '.join(others)} took turns in one of the runs only: what shares a "
            "process with other contestants may meet other caches",
            style="yellow",
            soft_wrap=True,
        )


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
