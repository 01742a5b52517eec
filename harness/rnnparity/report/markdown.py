"""A report as Markdown, for pull requests and READMEs, with its charts as SVG files beside it."""

from pathlib import Path

from rnnparity.records.run import Run
from rnnparity.records.timing import BOUND, IMPLEMENTATION, Timing, size
from rnnparity.report import summary, times
from rnnparity.report.charts import charts, svg
from rnnparity.report.page import machine
from rnnparity.report.timing_table import seconds
from rnnparity.timing import noise

MARKDOWN = "report.md"

# Failures that are told one by one.
SHOWN_FAILURES = 20

# Charts that are worth a place in a pull request.
SHOWN = ("drift", "ratios", "crossover", "roofline")


def write(run: Run, directory: Path) -> Path:
    """Write `report.md`, and `report-<chart>.svg`, into a folder."""
    pictures = {name: spec for name, spec in charts(run).items() if name in SHOWN}
    for name, spec in pictures.items():
        (directory / f"report-{name}.svg").write_text(svg(spec, 640), encoding="utf-8")
    path = directory / MARKDOWN
    path.write_text(render(run, tuple(pictures)), encoding="utf-8")
    return path


def render(run: Run, pictures: tuple[str, ...] = ()) -> str:
    """Return the report; `pictures` are the charts that lie beside it."""
    parts = [f"# {_safe(summary.sentence(run))}", _safe(machine(run.environment))]
    parts += [f"> {_safe(note)}" for note in run.notes]
    columns, matrix = summary.matrix(run)
    parts.append(
        table(
            ["implementation", *columns],
            [
                [name, *("" if c is None else f"{c.verdict} {c.passed}/{c.of}" for c in cells)]
                for name, cells in matrix.items()
            ],
        )
    )
    failures = summary.failures(run)
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
    parts += _speed(run)
    parts += [f"![{name}](report-{name}.svg)" for name in pictures]
    return "\n\n".join(parts) + "\n"


def _speed(run: Run) -> list[str]:
    found = times.timed(run)
    parts = []
    for key in dict.fromkeys((t.cell, t.device, t.dtype, t.mode, t.threads) for t in found):
        group = [
            t
            for t in found
            if (t.cell, t.device, t.dtype, t.mode, t.threads) == key and t.role == IMPLEMENTATION
        ]
        baseline = next((t.baseline for t in group if t.baseline), "")
        names = [n for n in dict.fromkeys(t.implementation for t in group) if n != baseline]
        if not baseline or not names:
            continue
        _, device, dtype, mode, threads = key
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
                same = noise.is_same(one, found)
                interval = f"[{one.ratio_low:.3g}, {one.ratio_high:.3g}]"
                cells.append(f"{'= ' if same else ''}{one.ratio:.3g} {interval}")
            time = seconds(first.median) if first is not None and first.median else ""
            again = noise.floor(next(iter(here.values())), found)
            rows.append([size(next(iter(here.values()))), time, f"{again:.1%}", *cells])
        parts.append(table(["T,B,I,H", baseline, "noise", *names], rows))
    return parts + _shares(run)


def _shares(run: Run) -> list[str]:
    """Return what is reached of this machine's own best: which of the two bounds is near."""
    best = times.roof(run)
    found = [t for t in times.timed(run) if times.has_roof(t)]
    found = [t for t in found if t.role in (IMPLEMENTATION, BOUND)]
    if best is None or not found:
        return []
    names = list(dict.fromkeys(t.implementation for t in found))
    rows = []
    for case, threads in dict.fromkeys((t.case, t.threads) for t in found):
        here = {t.implementation: t for t in found if (t.case, t.threads) == (case, threads)}
        cells = [_share(here.get(name), best) for name in names]
        rows.append([size(next(iter(here.values()))), *cells])
    return [
        "## Of this machine's own best: cpu, float32, forward",
        f"Operations per second as a share of a large product's "
        f"({best.product_flop_per_second / 1e9:.3g} GFLOP/s) / bytes that must move per second as "
        f"a share of a large copy's ({best.copy_bytes_per_second / 1e9:.3g} GB/s).",
        table(["T,B,I,H", *names], rows),
    ]


def _share(one: Timing | None, best: times.Roof) -> str:
    if one is None:
        return ""
    found = times.achieved(one, best)
    return " / ".join(f"{100 * (found[name] or 0):.2g}%" for name in ("of_product", "of_copy"))


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
