"""A report as one HTML file that needs nothing else: no network, no other file."""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import altair
import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rnnparity.report import summary, trend
from rnnparity.report.charts import PALETTES, charts, charts_of_runs
from rnnparity.report.source import Source
from rnnparity.verdict import LIMIT

PAGE, TREND = "report.html", "trend.html"

SNIPPET = "window.vegaEmbed = vegaEmbed;"


def write(source: Source, directory: Path) -> Path:
    """Write `report.html` into a folder."""
    path = directory / PAGE
    path.write_text(render(source), encoding="utf-8")
    return path


def write_trend(sources: Sequence[Source], directory: Path) -> Path:
    """Write `trend.html`, several runs side by side, into a folder."""
    path = directory / TREND
    path.write_text(render_trend(sources), encoding="utf-8")
    return path


def render(source: Source) -> str:
    """Return the page of a run."""
    columns, matrix = summary.matrix(source)
    pictures = charts(source)
    return _filled(
        "page.html.j2",
        pictures,
        {"checks": summary.checks(source), "timings": summary.timings(source)},
        title=source.name,
        sentence=summary.sentence(source),
        limit=LIMIT,
        columns=columns,
        matrix=matrix,
        letters=summary.LETTERS,
        environment=source.environment,
        machine=machine(source.environment),
        warnings=_texts(source.environment.get("timing", {}).get("warnings")),
        notes=source.notes,
        failures=summary.failures(source),
        closest=summary.closest(source),
        speed=summary.speed(source),
        timed=bool(source.timings),
        flat=_flat(source.environment),
    )


def render_trend(sources: Sequence[Source]) -> str:
    """Return the page of several runs."""
    head, rows = trend.table(sources)
    return _filled(
        "trend.html.j2",
        charts_of_runs(sources),
        {},
        title=f"What changed from {sources[0].name} to {sources[-1].name}",
        limit=LIMIT,
        head=head,
        rows=rows,
        changes=trend.changes(sources),
        notes=[f"{source.name}: {note}" for source in sources for note in source.notes],
    )


def _filled(name: str, pictures: dict[str, Any], data: dict[str, Any], **values: Any) -> str:
    """Return a template filled in, with all that a page needs inside."""
    loader = PackageLoader("rnnparity.report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    folder = files("rnnparity.report") / "templates"
    return environment.get_template(name).render(
        pictures=pictures,
        data=_data({"palettes": PALETTES, **data}),
        specs=_data(pictures),
        style=Markup((folder / "style.css").read_text(encoding="utf-8")),
        script=Markup((folder / "page.js").read_text(encoding="utf-8")),
        vega=_bundle() if pictures else "",
        **values,
    )


def machine(environment: dict[str, Any]) -> str:
    """Return the machine in a line."""
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


def _texts(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def _flat(environment: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in environment.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            rows += _flat(value, f"{name}.")
        elif value not in (None, "", []):
            rows.append((name, str(value)))
    return rows
