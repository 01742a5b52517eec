"""What Jupyter shows of a run: the sentence, a table, and a chart."""

from html import escape
from typing import TYPE_CHECKING, Any

from rnnparity.errors import UsageError
from rnnparity.report import summary
from rnnparity.report.charts import charts, svg
from rnnparity.report.source import Source

if TYPE_CHECKING:
    from rnnparity.runs import Run


def source_of(run: "Run") -> Source:
    """Return a run as reports take it."""
    return Source(run.directory.name, run.environment, run.records, run.timings)


def html(run: "Run") -> str:
    """Return a run as HTML with its chart inlined."""
    source = source_of(run)
    columns, matrix = summary.matrix(source)
    head = "".join(f"<th>{escape(name)}</th>" for name in ["implementation", *columns])
    rows = "".join(
        f"<tr><th>{escape(name)}</th>"
        + "".join(
            "<td></td>" if cell is None else f"<td>{cell.verdict} {cell.passed}/{cell.of}</td>"
            for cell in cells
        )
        + "</tr>"
        for name, cells in matrix.items()
    )
    pictures = charts(source)
    spec = pictures.get("ratios") or pictures.get("drift")
    chart = "" if spec is None else svg(spec, 560)
    return (
        f"<p>{escape(summary.sentence(source))}</p><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table>{chart}"
    )


def to_pandas(run: "Run") -> Any:
    """Return the timings of a run, or its checks if nothing was timed, as a pandas.DataFrame."""
    try:
        import pandas
    except ModuleNotFoundError:
        raise UsageError("pandas is not installed: pip install pandas") from None
    source = source_of(run)
    return pandas.DataFrame(summary.timings(source) or summary.checks(source))
