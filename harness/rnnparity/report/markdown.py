"""A report as Markdown, for pull requests and READMEs, with its charts as SVG files beside it."""

from pathlib import Path

from rnnparity.report import summary
from rnnparity.report.charts import charts, svg
from rnnparity.report.page import machine
from rnnparity.report.source import Source
from rnnparity.timing.contestants import IMPLEMENTATION
from rnnparity.timing.noise import is_same
from rnnparity.timing.table import seconds, size

MARKDOWN = "report.md"

# Failures that are told one by one.
SHOWN_FAILURES = 20

# Charts that are worth a place in a pull request.
SHOWN = ("drift", "ratios", "roofline")


def write(source: Source, directory: Path) -> Path:
    """Write `report.md`, and `report-<chart>.svg`, into a folder."""
    pictures = {name: spec for name, spec in charts(source).items() if name in SHOWN}
    for name, spec in pictures.items():
        (directory / f"report-{name}.svg").write_text(svg(spec, 640), encoding="utf-8")
    path = directory / MARKDOWN
    path.write_text(render(source, tuple(pictures)), encoding="utf-8")
    return path


def render(source: Source, pictures: tuple[str, ...] = ()) -> str:
    """Return the report; `pictures` are the charts that lie beside it."""
    parts = [f"# {_safe(summary.sentence(source))}", _safe(machine(source.environment))]
    parts += [f"> {_safe(note)}" for note in source.notes]
    columns, matrix = summary.matrix(source)
    parts.append(
        table(
            ["implementation", *columns],
            [
                [name, *("" if c is None else f"{c.verdict} {c.passed}/{c.of}" for c in cells)]
                for name, cells in matrix.items()
            ],
        )
    )
    failures = summary.failures(source)
    if failures:
        parts.append("## What failed")
        parts += [
            f"- **{_safe(one['implementation'])}** on {_safe(one['device'] or 'import')}: "
            f"{_safe(one['reason'])} (case {_safe(one['case'])})\n\n"
            f"      {' '.join(one['command'].splitlines())}"
            for one in failures[:SHOWN_FAILURES]
        ]
        if len(failures) > SHOWN_FAILURES:
            parts.append(f"And {len(failures) - SHOWN_FAILURES} more: see report.html.")
    parts += _speed(source)
    parts += [f"![{name}](report-{name}.svg)" for name in pictures]
    return "\n\n".join(parts) + "\n"


def _speed(source: Source) -> list[str]:
    found = summary.timed(source)
    parts = []
    for key in dict.fromkeys((t.device, t.dtype, t.mode, t.threads) for t in found):
        group = [
            t
            for t in found
            if (t.device, t.dtype, t.mode, t.threads) == key and t.role == IMPLEMENTATION
        ]
        baseline = next((t.baseline for t in group if t.baseline), "")
        names = [n for n in dict.fromkeys(t.implementation for t in group) if n != baseline]
        if not baseline or not names:
            continue
        device, dtype, mode, threads = key
        parts.append(
            f"## Times as fast as {_safe(baseline)}: {_safe(device)}, {dtype}, {mode}, "
            f"{threads} thread{'s' * (threads > 1)}"
        )
        rows = []
        for case in dict.fromkeys(t.case for t in group):
            here = {t.implementation: t for t in group if t.case == case}
            first = here.get(baseline)
            cells = []
            for name in names:
                one = here.get(name)
                if one is None or one.ratio is None:
                    cells.append("")
                    continue
                same = is_same(one, found)
                cells.append(f"{'= ' if same else ''}{one.ratio:.3g}")
            time = seconds(first.median) if first is not None and first.median else ""
            rows.append([size(next(iter(here.values()))), time, *cells])
        parts.append(table(["T,B,I,H", baseline, *names], rows))
    return parts


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table, its cells shown as they are."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_safe(cell) for cell in line) + " |" for line in lines)


def _safe(text: str) -> str:
    """Return text that Markdown shows as it is."""
    text = text.replace("&", "&amp;")
    for character in "\\|<>`*_[]~":
        text = text.replace(
            character,
            "\\" + character if character not in "<>" else {"<": "&lt;", ">": "&gt;"}[character],
        )
    return " ".join(text.split())
