"""What a run looks like in a terminal: progress while it goes, tables when it is done."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import inf

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

from rnnparity.cells.config import KINDS
from rnnparity.implementations.registry import without_kind
from rnnparity.judging.limit import LIMIT
from rnnparity.problems.quantities import quantity
from rnnparity.records.check import Record
from rnnparity.records.run import Run
from rnnparity.records.timing import Timing
from rnnparity.report.timing_table import headed, show_timings
from rnnparity.runs.check import Event
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

COLUMNS = ("output", "h_n", "grad x", "grad h0", "grad W")

# Of an LSTM, whose c is told with h: in columns of its own the table is wider than 80 characters.
WITH_C = {"h_n": "h, c", "grad h0": "grad\nh, c"}


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
        """Show one event of a check, or one stage of a timing."""
        if isinstance(event, Stage):
            self._show_stage(event)
            return
        if event.announced:
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
            self._console.print(f"[{elapsed:6.1f} s] {name}: {_tally(counts)}", highlight=False)

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
    checked = [record for record in run.records if record.definition is not None]
    for cell in KINDS:
        own = [record for record in checked if record.cell == cell]
        for device in dict.fromkeys(record.device for record in own):
            console.print(_table(cell, device, [r for r in own if r.device == device]))
    made: list[Record | Timing] = [*run.records, *run.timings]
    bad = [one for one in made if one.verdict.is_wrong]
    _show_failures(bad, console)
    for record in run.records:
        if record.definition is None and record.verdict == Verdict.ABSENT:
            where = f" on {record.device}" if record.device else ""
            name = (record.implementation, "yellow")
            console.print(Text.assemble(name, f"{where} absent: {record.reason}"), soft_wrap=True)
    _show_reasons(run.records, console)
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
        shown.setdefault((record.verdict, _kind(record.reason)), []).append(record)
    for verdict, kind in sorted(shown, key=lambda one: [*Verdict].index(one[0])):
        same = shown[verdict, kind]
        names = list(dict.fromkeys(record.implementation for record in same))
        line = Text.assemble((", ".join(names), COLOURS[verdict]), f" {verdict}: {same[0].reason}")
        line.append(f" ({_cases(same)})", style="dim")
        console.print(line, soft_wrap=True)


def _table(cell: str, device: str, records: list[Record]) -> Table:
    names = {_column(name) for record in records for name in record.quantities}
    columns = [column for column in COLUMNS if column in names]
    where = device if cell == "rnn" else f"{cell.upper()}, {device}"
    table = headed(f"{where}: largest error, in units of predicted rounding ({LIMIT:g} pass)")
    table.add_column("implementation", no_wrap=True)
    for column in columns:
        shown = WITH_C.get(column, column) if cell == "lstm" else column
        table.add_column(shown, justify="right", no_wrap=True)
    table.add_column(f"nn.{cell.upper()}", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for implementation in dict.fromkeys(record.implementation for record in records):
        rows = [record for record in records if record.implementation == implementation]
        counts = Counter(row.verdict for row in rows)
        worst = next(v for v in Verdict if counts[v])
        table.add_row(
            Text(without_kind(implementation)),
            *(_worst(rows, column) for column in columns),
            _worst_difference(rows),
            Text(_tally(counts).replace(", ", ",\n"), style=COLOURS[worst]),
        )
    return table


def _column(name: str) -> str:
    """Return the column of a quantity; states of one kind share one."""
    of = quantity(name)
    kind = "W" if of.is_parameter else {"c_n": "h_n", "c0": "h0"}.get(of.kind, of.kind)
    return f"grad {kind}" if of.is_gradient else kind


def _worst(rows: list[Record], column: str) -> str:
    found = [
        difference
        for row in rows
        for name, difference in row.quantities.items()
        if _column(name) == column
    ]
    if not found:
        return "-"
    return _short(max(inf if q.z is None else q.z for q in found))


def _worst_difference(rows: list[Record]) -> str:
    found = [
        difference.max_abs_difference_to_torch_rnn
        for row in rows
        # What grew from rounding alone is no difference between two implementations.
        if row.dtype in ("float32", "float64") and row.verdict != Verdict.CHAOTIC
        for difference in row.quantities.values()
        if difference.max_abs_difference_to_torch_rnn is not None
    ]
    return _short(max(found)) if found else "-"


def _short(value: float) -> str:
    """Return a number in at most five characters: 3.4, 120, 2e7, 3e-6."""
    if value == 0 or 0.01 <= value < 1000 or value == inf:
        return f"{value:.2g}" if value < 10 else f"{value:.0f}"
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _tally(counts: Counter[Verdict]) -> str:
    total, passed = sum(counts.values()), counts[Verdict.PASS]
    others = [f"{counts[v]} {v}" for v in Verdict if v != Verdict.PASS and counts[v]]
    return ", ".join([f"{passed}/{total} pass", *others])


def _show_failures(failures: list[Record | Timing], console: Console) -> None:
    """Print one line for every different reason of every implementation."""
    shown: dict[tuple[str, Verdict, str], list[Record | Timing]] = {}
    for record in failures:
        one = (record.implementation, record.verdict, _kind(record.reason))
        shown.setdefault(one, []).append(record)
    for (implementation, verdict, _), same in shown.items():
        line = Text.assemble(
            (implementation, "bold"), " ", (verdict, COLOURS[verdict]), f": {same[0].reason}"
        )
        if same[0].case:
            line.append(f" ({_cases(same)})", style="dim")
        console.print(line, soft_wrap=True)


def _kind(reason: str) -> str:
    """Return what makes a reason another: no numbers, nor the element shown, which stands last."""
    told = re.sub(r"; \w+\[[^;]*(; \d+ are allowed)?$", "", reason)
    return re.sub(r"[\d.]+(e[+-]?\d+)?|\[.*?\]|\(.*?\)", "#", told)


def _cases(same: Sequence[Record | Timing]) -> str:
    more = f" and {len(same) - 1} more cases" if len(same) > 1 else ""
    return f"case {same[0].case}{more}"
