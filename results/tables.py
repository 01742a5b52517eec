"""Write the tables in README.md and docs/ that come from the runs beside this file.

    python results/tables.py

Above each table stands what it is of, in a comment:

    ratios RUN MODE NAME ...        speed-up over the baseline, of the run in folder RUN
    copied FILE COLUMN              as a program has written it, the one whose first column that is
    paired A / B, ... of RUN ...    times as fast A is as B, paired within rounds; 95% intervals
    against NAME: A ... of RUN      times as fast each A is as NAME
    checked FOLDER: RUN ...         verdicts, and what float32 products ran in by the canary
    shown RUN                       what the command line shows of the plain RNN, to where
                                    gradients are timed
"""

import io
import re
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import dropwhile, product, takewhile
from pathlib import Path

from rich.console import Console

from rnnparity.records.files import read, read_timings
from rnnparity.records.run import Run
from rnnparity.records.timing import AGAIN, Timing
from rnnparity.report import terminal, timing_table
from rnnparity.timing import noise, statistics

RESULTS = Path(__file__).parent
DOCUMENTS = [RESULTS.parent / "README.md", *sorted((RESULTS.parent / "docs").glob("*.md"))]

Timings = list[Timing]


def updated(text: str) -> str:
    """Return a document with its tables made anew."""

    def renew(found: re.Match[str]) -> str:
        kind, what = found["kind"], found["what"]
        lines = _shown(what) if kind == SHOWN else map(_row, ROWS[kind](what))
        return found["comment"] + "".join(f"{line}\n" for line in lines)

    comment = rf"(?P<comment><!-- (?P<kind>{'|'.join(KINDS)}) (?P<what>.*?) -->\n\n)"
    return re.sub(comment + r"(```\n(?s:.*?)\n```\n|(\|.*\n)*)", renew, text)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _ratios(what: str) -> Iterator[list[str]]:
    folder, mode, *names = what.split()
    run = [one for one in _read(folder) if one.mode == mode]
    baseline = next(one.baseline for one in run if one.baseline)
    cell = run[0].cell
    ratios: dict[str, list[float]] = {name: [] for name in names}
    yield ["T,B,I,H", f"torch.nn.{cell.upper()}", "noise", *names]
    yield ["---"] * (3 + len(names))
    for size, here in _by_size(run):
        first = here[baseline]
        cells = [size, timing_table.seconds(first.median or 0), f"{noise.floor(first, run):.1%}"]
        for name in names:
            one = here.get(name if cell == "rnn" else f"{name} ({cell})")
            if one is None or one.ratio is None:
                cells.append("-")
                continue
            ratios[name].append(one.ratio)
            cells.append(_told(one.ratio, noise.is_same(one, run)))
        yield cells
    means = (
        _digits(statistics.geometric_mean(found)) if found else "-" for found in ratios.values()
    )
    yield ["geometric mean", "", "", *means]


def _paired(what: str) -> Iterator[list[str]]:
    names, folders = what.split(" of ")
    pairs = [pair.split(" / ") for pair in names.split(", ")]
    yield ["T,B,I,H", "mode", "threads", *(f"{one} / {other}" for one, other in pairs)]
    yield ["---"] * (3 + len(pairs))
    for mode, folder in product(("forward", "gradients"), folders.split()):
        run = [one for one in _read(folder) if one.mode == mode]
        for size, here in _by_size(run):
            if all(one in here and other in here for one, other in pairs):
                ratios = [_paired_ratio(here[one], here[other]) for one, other in pairs]
                yield [size, mode, str(run[0].threads), *ratios]


def _against(what: str) -> Iterator[list[str]]:
    own, others = what.split(": ")
    names, folder = others.split(" of ")
    yield ["T,B,I,H", "mode", own, *names.split()]
    yield ["---"] * (3 + len(names.split()))
    for mode in ("forward", "gradients"):
        run = [one for one in _read(folder) if one.mode == mode]
        for size, here in _by_size(run):
            if own not in here:
                continue
            cells = [
                _against_own(here[name], here[own], run) if name in here else "-"
                for name in names.split()
            ]
            yield [size, mode, timing_table.seconds(here[own].median or 0), *cells]


def _against_own(one: Timing, own: Timing, run: Timings) -> str:
    ratio = statistics.ratio(own.seconds, one.seconds)
    same = ratio.low <= 1 <= ratio.high or abs(ratio.value - 1) < noise.floor(own, run)
    return _told(ratio.value, same)


def _copied(what: str) -> Iterator[list[str]]:
    file, column = what.split()
    lines = iter((RESULTS / file).read_text(encoding="utf-8").splitlines())
    begun = dropwhile(lambda line: not line.startswith(f"| {column} |"), lines)
    for line in takewhile(lambda line: line.startswith("|"), begun):
        yield [cell.strip() for cell in line.strip("|").split("|")]


def _checked(what: str) -> Iterator[list[str]]:
    folder, runs = what.split(": ")
    yield ["checked", "implementation", "float32 ran in", "verdicts"]
    yield ["---"] * 4
    for run in runs.split():
        records = list(read(RESULTS / folder / run))
        for name in sorted({one.implementation for one in records}):
            own = [one for one in records if one.implementation == name]
            ran = {str(one.matmul_precision) for one in own if one.dtype == "float32"}
            counts = Counter(one.verdict for one in own).most_common()
            verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts)
            yield [f"`{run}`", name, ", ".join(sorted(ran)), verdicts]


def _paired_ratio(one: Timing, other: Timing) -> str:
    ratio = statistics.ratio(other.seconds, one.seconds)
    return f"{_digits(ratio.value)} [{_digits(ratio.low)}, {_digits(ratio.high)}]"


def _read(folder: str) -> Timings:
    return [one for one in read_timings(RESULTS / folder) if one.seconds]


def _by_size(run: Timings) -> Iterator[tuple[str, dict[str, Timing]]]:
    for case in dict.fromkeys(one.case for one in run):
        here = {one.implementation: one for one in run if one.case == case and one.role != AGAIN}
        yield timing_table.size(next(iter(here.values()))), here


def _digits(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 9.995 else f"{ratio:.1f}"


def _told(ratio: float, same: bool) -> str:
    """Return a ratio; in brackets where no difference was told."""
    return f"({_digits(ratio)})" if same else _digits(ratio)


def _shown(folder: str) -> Iterator[str]:
    found = RESULTS / folder
    plain = [record for record in read(found) if record.cell == "rnn"]
    run = Run(found, {}, plain, list(read_timings(found)))
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as capture:
        terminal.show(run, console)
    lines = filter(str.strip, capture.get().splitlines())
    yield "```"
    yield from map(str.rstrip, takewhile(lambda line: ", gradients, " not in line, lines))
    yield "```"


SHOWN = "shown"
ROWS = {
    "ratios": _ratios,
    "paired": _paired,
    "against": _against,
    "copied": _copied,
    "checked": _checked,
}
KINDS = (*ROWS, SHOWN)

if __name__ == "__main__":
    for document in DOCUMENTS:
        before = document.read_text(encoding="utf-8")
        after = updated(before)
        if after != before:
            document.write_text(after, encoding="utf-8")
            sys.stdout.write(f"written: {document.name}\n")
