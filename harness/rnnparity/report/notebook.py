"""What Jupyter shows of a run: the sentence, a table, and a chart."""

from html import escape
from typing import Any

from rnnparity.errors import UsageError
from rnnparity.records.run import Run
from rnnparity.report import summary, times


class ShownRun(Run):
    """What `check`, `bench` and `run` return: a run that notebooks show, and pandas takes."""

    def _repr_html_(self) -> str:
        return html(self)

    def to_pandas(self) -> Any:
        """Return the timings, or the checks if nothing was timed, as a `pandas.DataFrame`.

        Raises:
            UsageError: pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError:
            raise UsageError("pandas is not installed: pip install pandas") from None
        return pandas.DataFrame(times.timings(self) or summary.checks(self))


def html(run: Run) -> str:
    """Return a run as HTML with its chart inlined."""
    from rnnparity.report.charts import charts, svg  # Altair: only where a chart is drawn

    columns, matrix = summary.matrix(run)
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
    pictures = charts(run)
    spec = pictures.get("ratios") or pictures.get("drift")
    chart = "" if spec is None else svg(spec, 560)
    return (
        f"<p>{escape(summary.sentence(run))}</p><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table>{chart}"
    )
