"""Writing all forms of a report into a run's folder."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rnnparity import extras
from rnnparity.errors import UsageError, writing_into
from rnnparity.records import run
from rnnparity.report import junit, trend


def write(directory: Path, out: Path | None = None) -> Path:
    """Write a run's report as HTML, Markdown and JUnit XML, and return the page's path.

    Args:
        directory: of the run.
        out: where to; the run's folder if None.

    Raises:
        UsageError: there is no run, or nothing can be written.
    """
    extras.needed("report", "the report")
    from rnnparity.report import markdown, page

    found = run.read(directory)
    target = directory if out is None else out
    with writing_into(target):
        markdown.write(found, target)
        junit.write(found, target)
        return page.write(found, target)


def write_junit(found: run.Run, path: Path) -> None:
    """Write a run as JUnit XML into a file.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        path.write_bytes(junit.render(found))
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def compared(directories: Sequence[Path], out: Path | None = None) -> str:
    """Return several runs side by side as Markdown.

    Args:
        directories: of the runs, the earliest first.
        out: a folder that gets `trend.md` and `trend.html`.

    Raises:
        UsageError: there is no run in one, or nothing can be written.
    """
    extras.needed("report", "the report")
    from rnnparity.report import markdown, page

    runs = [run.read(directory) for directory in directories]
    names = Counter(one.name for one in runs)
    for i, one in enumerate(runs):
        if names[one.name] > 1:  # of other folders, or the same one twice
            one.title = f"{one.name} ({i + 1})"
    runs = trend.comparable(runs)
    head, rows = trend.table(runs)
    found = trend.changes(runs)
    lines = [f"- {line}" for line in found] or ["- nothing changed"]
    notes = [f"> {one.name}: {note}" for one in runs for note in one.notes]
    text = "\n".join([*notes, markdown.table(head, rows), "", *lines]) + "\n"
    if out is not None:
        with writing_into(out):
            (out / "trend.md").write_text(text, encoding="utf-8")
            page.write_trend(runs, out)
    return text
