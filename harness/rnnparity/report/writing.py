"""Writing all forms of a report into a run's folder."""

from collections.abc import Sequence
from pathlib import Path

from rnnparity.errors import UsageError
from rnnparity.report import junit, markdown, page, source, trend


def write(directory: Path, out: Path | None = None) -> Path:
    """Write a run's report as HTML, Markdown and JUnit XML, and return the page's path.

    Args:
        directory: of the run.
        out: where to; the run's folder if None.

    Raises:
        UsageError: there is no run, or nothing can be written.
    """
    read = source.read(directory)
    target = directory if out is None else out
    try:
        target.mkdir(parents=True, exist_ok=True)
        markdown.write(read, target)
        junit.write(read, target)
        return page.write(read, target)
    except OSError as error:
        raise UsageError(f"{target} cannot be written to: {error.strerror}") from None


def compared(directories: Sequence[Path]) -> str:
    """Return several runs side by side as Markdown."""
    sources = [source.read(directory) for directory in directories]
    head, rows = trend.table(sources)
    found = trend.changes(sources)
    lines = [f"- {line}" for line in found] or ["- nothing changed"]
    return "\n".join([markdown.table(head, rows), "", *lines]) + "\n"
