"""A report as one HTML file that needs nothing else: no network, no other file."""

import json
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import altair
import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rnnparity.implementations.registry import without_kind
from rnnparity.judging.limit import LIMIT
from rnnparity.records.run import Run
from rnnparity.report import (
    error_table,
    failing,
    first_screen,
    speed_table,
    summary,
    times,
    trend,
)
from rnnparity.report.charts import PALETTES, charts, charts_of_runs, inline, title
from rnnparity.report.timing_table import seconds
from rnnparity.verdicts import Verdict

PAGE, TREND = "report.html", "trend.html"

# Rows of a table of errors that may fail before they are folded away: they are all in the list of
# failures above it, and what is right must not be looked for among them.
FOLDED = 8

SNIPPET = "window.vegaEmbed = vegaEmbed;"


def write(run: Run, directory: Path) -> Path:
    """Write `report.html` into a folder."""
    path = directory / PAGE
    path.write_text(render(run), encoding="utf-8")
    return path


def write_trend(runs: Sequence[Run], directory: Path) -> Path:
    """Write `trend.html`, several runs side by side, into a folder."""
    path = directory / TREND
    path.write_text(render_trend(runs), encoding="utf-8")
    return path


def render(run: Run) -> str:
    """Return the page of a run."""
    columns, matrix = summary.matrix(run)
    wrong = failing.names(run)
    return filled(
        "page.html.j2",
        charts(run),
        {"checks": summary.checks(run), "timings": times.timings(run)},
        title=run.name,
        sentence=summary.sentence(run),
        answers=first_screen.answers(run),
        told=first_screen.header(run),
        columns=columns,
        matrix=matrix,
        letters={verdict: verdict[0].upper() for verdict in Verdict},
        machine=machine(run.environment),
        failing=failing.failing(run),
        wrong=wrong,
        speed=speed_table.tables(run),
        ratio=partial(speed_table.told, run=run),
        errors=error_table.tables(run),
        folded=FOLDED,
        short=error_table.short,
        limit=LIMIT,
        without_kind=without_kind,
        seconds=seconds,
        query=urlencode,
        closest=summary.closest(run),
        timed=bool(run.timings),
        flat=_flat(run.environment),
    )


def render_trend(runs: Sequence[Run]) -> str:
    """Return the page of several runs."""
    head, rows = trend.table(runs)
    return filled(
        "trend.html.j2",
        charts_of_runs(runs),
        {},
        title=f"What changed from {runs[0].name} to {runs[-1].name}",
        limit=LIMIT,
        head=head,
        rows=rows,
        changes=trend.changes(runs),
        notes=[f"{run.name}: {note}" for run in runs for note in run.notes],
    )


def filled(name: str, specs: dict[str, Any], data: dict[str, Any], **values: Any) -> str:
    """Return a template filled in, with all that a page needs inside."""
    loader = PackageLoader("rnnparity.report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    folder = files("rnnparity.report") / "templates"
    pictures = {one: (title(spec), Markup(inline(one, spec))) for one, spec in specs.items()}
    untitled = {one: spec | {"title": None} for one, spec in specs.items()}
    return environment.get_template(name).render(
        pictures=pictures,
        data=_data({"palettes": PALETTES, **data}),
        specs=_data(untitled),
        style=Markup(_colours() + (folder / "style.css").read_text(encoding="utf-8")),
        script=Markup((folder / "page.js").read_text(encoding="utf-8")),
        vega=_bundle() if specs else "",
        **values,
    )


def _colours() -> str:
    """Return the colours of pictures as the page's own, light and dark."""
    light, dark = (
        "".join(f"--c{i}: {colour}; " for i, colour in enumerate(PALETTES[scheme]))
        for scheme in ("light", "dark")
    )
    screen = "@media screen and (prefers-color-scheme: dark)"
    return f":root {{ {light}}}\n{screen} {{ :root {{ {dark}}} }}\n"


def machine(environment: dict[str, Any]) -> str:
    """Return the machine and the Pythons in a line; of a cluster all machines, alike ones once."""
    alike: dict[str, list[str]] = {}
    for name, one in environment.get("hosts", {}).items():
        alike.setdefault(_machine(one), []).append(name)
    lines = [f"{summary.some(names)}: {line}" for line, names in alike.items()]
    return "; ".join([*(lines or [_machine(environment)]), *summary.pythons(environment)])


def _machine(environment: dict[str, Any]) -> str:
    words = [
        environment.get("cpu_model"),
        f"{environment['cpu_cores_usable']} cores" if "cpu_cores_usable" in environment else None,
        environment.get("os"),
        f"Python {environment['python']}" if "python" in environment else None,
    ]
    for versions in environment.get("frameworks", {}).values():
        words += [f"{k} {v}" for k, v in versions.items() if k in ("numpy", "torch", "jax", "gpu")]
    return ", ".join(str(word) for word in words if word)


def _data(value: Any) -> Markup:
    """Return JSON that can stand in a script element, whatever is in its strings."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _bundle() -> Markup:
    version = ".".join(altair.SCHEMA_VERSION.split(".")[:2])
    bundle: str = vl_convert.javascript_bundle(SNIPPET, vl_version=version)
    return Markup(bundle.replace("</script", "<\\/script"))


def _flat(environment: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in environment.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            rows += _flat(value, f"{name}.")
        elif value not in (None, "", []):
            rows.append((name, str(value)))
    return rows
