"""What a run looks like in a terminal: progress while it goes, tables when it is done."""

import time
from collections import Counter
from math import inf
from types import TracebackType

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

from rnnparity.records import VERDICTS, Record
from rnnparity.runs import Event, Run

COLOURS = {
    "pass": "green",
    "fail": "bold red",
    "error": "bold red",
    "chaotic": "cyan",
    "unsupported": "yellow",
    "absent": "yellow",
}


class Display:
    """Shows events on standard error: bars on a terminal, else a line per implementation."""

    def __init__(self, console: Console) -> None:
        """Show nothing yet."""
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="red"),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._counts: dict[str, Counter[str]] = {}
        self._planned: dict[str, int] = {}
        self._started = time.monotonic()

    def __enter__(self) -> "Display":
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave what was drawn."""
        self._progress.stop()

    def announce(self, names: list[str]) -> None:
        """Show a bar for every implementation, before anything is known of it."""
        width = max(map(len, names), default=0)
        for name in names:
            self._tasks[name] = self._progress.add_task(
                name.ljust(width), total=None, note="", start=False
            )
            self._counts[name] = Counter()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        name = event.implementation
        task, counts = self._tasks[name], self._counts[name]
        if event.planned is not None:
            self._planned[name] = event.planned
            self._progress.start_task(task)
            self._progress.update(task, total=event.planned)
            return
        if event.record is None or event.record.definition is not None:
            self._progress.advance(task)
        counts[event.record.verdict if event.record else "pass"] += 1
        if event.record is not None and event.record.definition is None:
            self._progress.update(task, total=0, note=event.record.verdict)
        bad = counts["fail"] + counts["error"]
        if bad:
            self._progress.update(task, note=f"{bad} not right")
        if not self._console.is_terminal and sum(counts.values()) >= self._planned.get(name, 1):
            elapsed = time.monotonic() - self._started
            self._console.print(f"[{elapsed:6.1f} s] {name}: {_tally(counts)}", highlight=False)


def show(run: Run, console: Console) -> None:
    """Print a table per device, then what did not pass, then where the records are."""
    checked = [record for record in run.records if record.definition is not None]
    for device in dict.fromkeys(record.device for record in checked):
        console.print(_table(device, [r for r in checked if r.device == device]))
    _show_failures([r for r in run.records if r.verdict in ("fail", "error")], console)
    for record in run.records:
        if record.definition is None and record.verdict == "absent":
            where = f" on {record.device}" if record.device else ""
            name = (record.implementation, "yellow")
            console.print(Text.assemble(name, f"{where} absent: {record.reason}"), soft_wrap=True)
    if run.interrupted:
        console.print(
            f"interrupted after {len(run.records)} records; "
            f"go on with: --resume --out {run.directory}",
            style="bold yellow",
        )
    console.print(f"records in {run.directory}", style="dim", highlight=False, soft_wrap=True)


def _table(device: str, records: list[Record]) -> Table:
    names = list(dict.fromkeys(name for record in records for name in record.quantities))
    table = Table(
        title=f"{device}: largest error, as a share of what is allowed",
        title_justify="left",
        pad_edge=False,
    )
    table.add_column("implementation", no_wrap=True)
    for name in names:
        table.add_column(name.replace("next_", "next "), justify="right")
    table.add_column("vs nn.RNN", justify="right")
    table.add_column("verdict", no_wrap=True)
    for implementation in dict.fromkeys(record.implementation for record in records):
        rows = [record for record in records if record.implementation == implementation]
        counts = Counter(row.verdict for row in rows)
        worst = next(v for v in ("error", "fail", "pass", *VERDICTS) if counts[v])
        table.add_row(
            implementation,
            *(_worst(rows, name) for name in names),
            _worst_difference(rows),
            Text(_tally(counts), style=COLOURS[worst]),
        )
    return table


def _worst(rows: list[Record], name: str) -> str:
    found = [row.quantities[name] for row in rows if name in row.quantities]
    if not found:
        return "-"
    shares = [inf if q.max_abs_error is None else q.max_abs_error / q.limit for q in found]
    return f"{max(shares):.2g}"


def _worst_difference(rows: list[Record]) -> str:
    found = [
        quantity.max_abs_difference_to_torch_rnn
        for row in rows
        if row.dtype in ("float32", "float64")
        for quantity in row.quantities.values()
        if quantity.max_abs_difference_to_torch_rnn is not None
    ]
    return f"{max(found):.1e}" if found else "-"


def _tally(counts: Counter[str]) -> str:
    total, passed = sum(counts.values()), counts["pass"]
    others = [f"{counts[v]} {v}" for v in VERDICTS if v != "pass" and counts[v]]
    return ", ".join([f"{passed}/{total} pass", *others])


def _show_failures(failures: list[Record], console: Console) -> None:
    """Print one line for every different reason of every implementation."""
    shown: dict[tuple[str, str, str], list[Record]] = {}
    for record in failures:
        kind = record.reason.split("[")[0] if record.verdict == "fail" else record.reason
        shown.setdefault((record.implementation, record.verdict, kind), []).append(record)
    for (implementation, verdict, _), same in shown.items():
        line = Text.assemble(
            (implementation, "bold"), " ", (verdict, COLOURS[verdict]), f": {same[0].reason}"
        )
        if same[0].case:
            more = f" and {len(same) - 1} more cases" if len(same) > 1 else ""
            line.append(f" (case {same[0].case}{more})", style="dim")
        console.print(line, soft_wrap=True)
