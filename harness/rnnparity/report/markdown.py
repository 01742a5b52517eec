"""A report as Markdown, for pull requests and READMEs, with its charts as SVG files beside it."""

from pathlib import Path

from rnnparity.records.run import Run
from rnnparity.records.timing import BOUND, IMPLEMENTATION, Timing, size
from rnnparity.report import error_table, failing, first_screen, speed_table, summary, times
from rnnparity.report.charts import charts, svg
from rnnparity.report.error_table import short
from rnnparity.report.page import machine
from rnnparity.report.timing_table import seconds
from rnnparity.timing import noise

MARKDOWN = "report.md"

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
    parts.append("\n".join(map(_answer, first_screen.answers(run))))
    parts += [*_failures(run), *_speed(run), *_errors(run), *_shares(run)]
    parts += [f"![{name}](report-{name}.svg)" for name in pictures]
    told = [f"{name} `{' '.join(value.split())}`" for name, value in first_screen.header(run)]
    parts.append(", ".join(told))
    return "\n\n".join(parts) + "\n"


def _answer(one: first_screen.Answer) -> str:
    lines = f": {'; '.join(one.lines)}" * bool(one.lines)
    return f"- **{one.question}** {_safe(one.answer + lines)}."


def _failures(run: Run) -> list[str]:
    """Return who fails, each once with its reasons, and how to repeat the first of them."""
    parts = []
    for one in failing.failing(run):
        reasons = "; ".join(f"{r.count} {r.verdict}: {_safe(r.text)}" for r in one.reasons)
        first = one.reasons[0]
        line = f"- **{_safe(one.implementation)}** fails {one.failed} of {one.of}: {reasons}"
        again = " ".join(first.command.splitlines())
        parts.append(f"{line} (first in {_safe(first.case)})" + f"\n\n      {again}" * bool(again))
    return ["## What fails, and why", *parts] if parts else []


def _speed(run: Run) -> list[str]:
    parts, wrong = [], failing.names(run)
    for made in speed_table.tables(run):
        rows = []
        for sizes, here in made.rows:
            first = here.get(made.baseline)
            time = seconds(first.median) if first is not None and first.median else ""
            noisy = f"{noise.floor(next(iter(here.values())), run.timings):.1%}"
            cells = [speed_table.told(here[n], run) if n in here else "" for n in made.names]
            rows.append([sizes, time, noisy, *cells])
        if len(rows) > 1:
            means = [made.means[name].text for name in made.names]
            rows.append(["geometric mean", "", "", *means])
        names = [failing.marked(name, wrong) for name in (made.baseline, *made.names)]
        parts.append(f"## Speed-up over {_safe(speed_table.spoken(made.baseline))}: {made.where}")
        parts.append(table(["T,B,I,H", names[0], "noise", *names[1:]], rows))
    return parts


def _errors(run: Run) -> list[str]:
    parts = []
    for made in error_table.tables(run):
        head = ["implementation", *made.shown_columns, made.beside, "verdict"]
        rows = [
            [row.implementation, *map(short, (*row.errors, row.difference)), row.tally]
            for row in made.rows
        ]
        parts += [f"## {_safe(made.title)}", table(head, rows)]
    return parts


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
