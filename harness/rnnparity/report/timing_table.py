"""Timings in a terminal: a run's, within 80 columns, and what changed between two runs."""

from collections import Counter
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rnnparity.implementations.registry import without_kind
from rnnparity.records.run import Run
from rnnparity.records.timing import Timing, size
from rnnparity.report import failing, speed_table
from rnnparity.report.speed_table import NOT_TOLD, SpeedTable
from rnnparity.timing import noise
from rnnparity.timing.comparison import FASTER, LOST, SAME, SLOWER, UNKNOWN, Change
from rnnparity.verdicts import Verdict

# Characters that columns of implementations share, in 80, beside the size and the baseline's time;
# and what a ratio with its interval takes.
ACROSS, RATIO = 50, 11


def show_timings(run: Run, console: Console) -> None:
    """Print a table for every device, dtype and mode, and what makes the times uncertain."""
    wrong = failing.names(run)
    for table in speed_table.tables(run):
        for some in _across(table.names):
            console.print(_table(table, some, wrong))
    if run.timings:
        floor = noise.largest(run.timings)
        if floor is not None:
            console.print(
                f"noise: the baseline against itself is within {floor:.1%} everywhere (95% "
                f"intervals); in brackets: {NOT_TOLD}, for it is below that, or 1 is in the "
                "interval"
            )
        for warning in run.environment.get("timing", {}).get("warnings", []):
            console.print(f"warning: {warning}", style="yellow", soft_wrap=True)


def _heading(name: str, wrong: set[str]) -> str:
    """Return what heads an implementation's column; that it fails stands below its name."""
    return without_kind(name) + "\n(fails)" * (name in wrong)


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


def _table(made: SpeedTable, names: Sequence[str], wrong: set[str]) -> Table:
    table = headed(made.title)
    table.add_column("T,B,I,H", no_wrap=True)
    for name in (made.baseline, *names):
        table.add_column(Text(_heading(name, wrong)), justify="right", no_wrap=True)
    for sizes, here in made.rows:
        first = here.get(made.baseline)
        time = "-" if first is None or first.median is None else seconds(first.median)
        table.add_row(sizes, time, *(_cell(here.get(name), made.timings) for name in names))
    means = [made.means[name] for name in names]
    if any(mean.sizes + mean.failed > 1 for mean in means):
        table.add_section()
        table.add_row("geometric mean", "", *(mean.text for mean in means))
    return table


def _cell(one: Timing | None, run: Sequence[Timing]) -> Text:
    if one is None:
        return Text("-")
    if one.ratio is None or one.ratio_low is None or one.ratio_high is None:
        style = "bold red" if one.verdict.is_wrong else "yellow"
        return Text("-" if one.verdict == Verdict.PASS else one.verdict, style=style)
    if noise.is_same(one, run):
        return Text(f"({one.ratio:.2f})", style="dim")
    half = (one.ratio_high - one.ratio_low) / 2
    style = "green" if one.ratio > 1 else "red"
    digits = 1 if one.ratio >= 9.95 else 2
    return Text(f"{one.ratio:.{digits}f} ±{half:.{digits}f}", style=style)


# Characters that a table of changes needs.
WIDTH = 100


def show_changes(changes: list[Change], others: list[str], console: Console) -> None:
    """Print what two runs differ by; `others` took turns in one of them only."""
    table = headed(
        "the later run's time over the earlier's, and relative to what took turns with it"
    )
    for name in ("implementation", "T,B,I,H", "mode"):
        table.add_column(name, no_wrap=True)
    for name in ("seconds", "relative"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("to", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    styles = {SLOWER: "bold red", LOST: "bold red", FASTER: "green", SAME: "dim", UNKNOWN: "dim"}
    for change in changes:
        one = change.after
        table.add_row(
            Text(one.implementation),
            size(one),
            one.mode,
            *(_or_dash(value, ".3f") for value in (change.seconds, change.relative)),
            Text(change.to or "-"),
            _or_dash(change.p, ".2g"),
            Text(change.verdict, style=styles[change.verdict]),
        )
    # Of a narrow terminal lines are wrapped, and no figure is cut.
    console.width = max(console.width, WIDTH)
    console.print(table, crop=False)
    counts = Counter(change.verdict for change in changes)
    always = (SLOWER, FASTER, SAME)
    console.print(", ".join(f"{counts[v]} {v}" for v in styles if v in always or counts[v]))
    for change in changes:
        if change.verdict == LOST:
            one = change.after
            console.print(f"lost: {one.id}: {one.verdict}: {one.reason}", soft_wrap=True)
    if counts[UNKNOWN]:
        console.print(
            "unknown: fewer than two processes, or nothing that took turns with it both times: a "
            "change may be the machine's",
            soft_wrap=True,
        )
    if others:
        console.print(
            f"warning: {', '.join(others)} took turns in one of the runs only: what shares a "
            "process with other contestants may meet other caches",
            style="yellow",
            soft_wrap=True,
        )


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
