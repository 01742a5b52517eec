"""What a run looks like in a terminal: progress while it goes, tables when it is done."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from rnnparity.implementations.registry import without_kind
from rnnparity.records.check import Record
from rnnparity.records.run import Run
from rnnparity.report import error_table, summary
from rnnparity.report.error_table import ErrorTable, short, tally
from rnnparity.report.failing import failing, kind_of
from rnnparity.report.timing_table import headed, show_timings
from rnnparity.runs.keeping import Event
from rnnparity.timing.bench import Stage
from rnnparity.verdicts import Verdict

COLOURS = {
    Verdict.ERROR: "bold red",
    Verdict.FAIL: "bold red",
    Verdict.XFAIL: "magenta",
    Verdict.PASS: "green",
    Verdict.CHAOTIC: "cyan",
    Verdict.UNSUPPORTED: "yellow",
    Verdict.ABSENT: "yellow",
}


TIMING = "timing"


class Display:
    """Shows events on standard error: bars on a terminal, else a line per implementation."""

    def __init__(self, console: Console) -> None:
        """Show nothing yet."""
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="red"),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._counts: dict[str, Counter[Verdict]] = {}
        self._planned: dict[str, int] = {}
        self._started = time.monotonic()

    def __enter__(self) -> "Display":
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave what was drawn."""
        self._progress.stop()

    def _announce(self, names: Sequence[str]) -> None:
        """Show a bar for every implementation, before anything is known of it."""
        width = max(map(len, names), default=0)
        for name in names:
            self._tasks[name] = self._progress.add_task(
                name.ljust(width), total=None, note="", start=False
            )
            self._counts[name] = Counter()

    def __call__(self, event: Event | Stage) -> None:
        """Show one event of a check, or one stage of a timing; if that fails, the run goes on."""
        with suppress(OSError):
            if isinstance(event, Stage):
                self._show_stage(event)
            else:
                self._show_event(event)

    def _show_event(self, event: Event) -> None:
        if event.announced:
            for note in event.notes:
                self._console.print(note, soft_wrap=True)
            self._announce(event.announced)
            return
        name = event.implementation
        task, counts = self._tasks[name], self._counts[name]
        if event.planned is not None:
            self._planned[name] = event.planned
            self._progress.start_task(task)
            self._progress.update(task, total=event.planned)
            return
        if event.record is None:
            return
        if event.record.definition is not None:
            self._progress.advance(task)
        else:
            self._progress.update(task, total=0, note=event.record.verdict)
        counts[event.record.verdict] += 1
        bad = sum(count for verdict, count in counts.items() if verdict.is_wrong)
        if bad:
            self._progress.update(task, note=f"{bad} not right")
        if not self._console.is_terminal and sum(counts.values()) >= self._planned.get(name, 1):
            elapsed = time.monotonic() - self._started
            self._console.print(f"[{elapsed:6.1f} s] {name}: {tally(counts)}", highlight=False)

    def _show_stage(self, stage: Stage) -> None:
        if TIMING not in self._tasks:
            self._tasks[TIMING] = self._progress.add_task(TIMING, total=stage.total, note="")
        done = stage.done + stage.share
        self._progress.update(self._tasks[TIMING], completed=done, note=f"[dim]{stage.what}")
        new = stage.done != self._planned.get(TIMING)
        self._planned[TIMING] = stage.done
        if new and not self._console.is_terminal:
            elapsed = time.monotonic() - self._started
            self._console.print(f"[{elapsed:6.1f} s] timed {stage.done} of {stage.total}")


@contextmanager
def stages(totals: dict[str, int], console: Console) -> Iterator[Callable[[str], None]]:
    """Show how far the stages of a self-test are: a bar for each, or a line for every tenth.

    Yields:
        What is to be called with a stage's name after every item of it.
    """
    done: Counter[str] = Counter()
    with Progress(console=console, disable=not console.is_terminal) as progress:
        tasks = {name: progress.add_task(name, total=total) for name, total in totals.items()}

        def advance(stage: str) -> None:
            done[stage] += 1
            progress.advance(tasks[stage])
            if not console.is_terminal and done[stage] % max(1, totals[stage] // 10) == 0:
                console.print(f"{stage}: {done[stage]} of {totals[stage]}")

        yield advance


def show(run: Run, console: Console) -> None:
    """Print a table per kind and device, then what did not pass, then where the records are."""
    for line in run.environment.get("assumed", []):
        console.print(line, style="dim", soft_wrap=True)
    for table in error_table.tables(run):
        console.print(_table(table))
    for line in summary.pythons(run.environment):
        console.print(line, style="dim", soft_wrap=True)
    _show_failures(run, console)
    for record in run.records:
        if record.definition is None and record.verdict == Verdict.ABSENT:
            where = f" on {record.device}" if record.device else ""
            name = (record.implementation, "yellow")
            console.print(Text.assemble(name, f"{where} absent: {record.reason}"), soft_wrap=True)
    _show_reasons(run.records, console)
    for pattern in run.environment.get("unmatched", []):
        console.print(
            f"of the expected failures, {pattern} is of no check here: ids are "
            "IMPLEMENTATION-DEVICE-CASE, or CASE alone",
            style="yellow",
            soft_wrap=True,
        )
    for pattern in run.environment.get("outdated", []):
        console.print(
            f"expected to fail, but nothing does: {pattern}: take the line out of the list",
            style="bold red",
            soft_wrap=True,
        )
    show_timings(run, console)
    if run.interrupted:
        console.print(
            f"interrupted after {len(run.records)} records; "
            f"go on with: --resume --out {run.directory}",
            style="bold yellow",
        )
    console.print(f"records in {run.directory}", style="dim", highlight=False, soft_wrap=True)


def _show_reasons(records: list[Record], console: Console) -> None:
    """Print what was not judged and why, a line for each reason, of all whom it concerns."""
    shown: dict[tuple[Verdict, str], list[Record]] = {}
    for record in records:
        if record.definition is None or record.verdict.is_wrong or not record.reason:
            continue
        shown.setdefault((record.verdict, kind_of(record.reason)), []).append(record)
    for verdict, kind in sorted(shown, key=lambda one: [*Verdict].index(one[0])):
        same = shown[verdict, kind]
        names = list(dict.fromkeys(record.implementation for record in same))
        line = Text.assemble((", ".join(names), COLOURS[verdict]), f" {verdict}: {same[0].reason}")
        line.append(f" ({_cases(same[0].case, len(same))})", style="dim")
        console.print(line, soft_wrap=True)


def _table(made: ErrorTable) -> Table:
    table = headed(made.title)
    table.add_column("implementation", no_wrap=True)
    for column in made.shown_columns:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column(made.beside.replace(" nn", "\nnn"), justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row in made.rows:
        table.add_row(
            Text(without_kind(row.implementation)),
            *map(short, row.errors),
            short(row.difference),
            Text(row.tally.replace(", ", ",\n"), style=COLOURS[row.worst]),
        )
    return table


def _show_failures(run: Run, console: Console) -> None:
    """Print one line for every different reason of every implementation."""
    for one in failing(run):
        for reason in one.reasons:
            line = Text.assemble(
                (one.implementation, "bold"),
                " ",
                (reason.verdict, COLOURS[reason.verdict]),
                f": {reason.full}",
            )
            line.append(f" ({_cases(reason.case, reason.count)})", style="dim")
            console.print(line, soft_wrap=True)


def _cases(case: str, count: int) -> str:
    more = "" if count == 1 else f" and {count - 1} more case" + "s" * (count > 2)
    return f"case {case}{more}"
