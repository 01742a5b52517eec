"""What there is and what was found: list, report, compare."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from rnnparity.cli.options import Cluster, Json
from rnnparity.cli.shared import console, regular
from rnnparity.defaults import THRESHOLD
from rnnparity.errors import UsageError


def list_command(json: Json = False, cluster: Cluster = None) -> None:
    """List implementations, their devices, the presets, and why something is absent.

    With --cluster: its workers, and what they offer.
    """
    from rnnparity.report import listing

    shown = console()
    if cluster is not None:
        with shown.status("asking each worker") if not json else nullcontext():
            offered = listing.offered(cluster)
        if json:
            sys.stdout.write(listing.as_json(offered))
        else:
            listing.show_offered(offered, shown)
        return
    with shown.status("asking each implementation") if not json else nullcontext():
        found = listing.collect()
    if json:
        sys.stdout.write(listing.document(found))
    else:
        listing.show(found, shown)


def report(
    directories: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders of runs; several: what changed.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the report [default: the run's].", show_default=False),
    ] = None,
) -> None:
    """Make a run's report again: report.html, report.md, junit.xml.

    Of several runs: print what changed; with --out, write trend.html and trend.md.
    """
    from rnnparity.report import writing

    _check(*directories)
    if len(directories) > 1:
        sys.stdout.write(writing.compared(directories, out))
        return
    sys.stdout.write(f"report in {writing.write(directories[0], out)}\n")


def _check(*folders: Path) -> None:
    from rnnparity.records import files

    for folder in folders:
        for name in (files.RECORDS, files.TIMINGS, files.ENVIRONMENT):
            regular(run=folder / name)


def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="Folder of the earlier run.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="Folder of the later run.")],
    threshold: Annotated[
        float, typer.Option(help="Smallest change that counts, as a share: 0.05 is 5%.")
    ] = THRESHOLD,
) -> None:
    """Compare the timings of two runs. Exit code 1 if something became slower, or fails now."""
    from rnnparity import extras
    from rnnparity.records import files, run
    from rnnparity.report import timing_table, trend
    from rnnparity.timing import comparison

    extras.needed("bench", "comparing")
    _check(before, after)
    for folder in (before, after):
        if not (folder / files.TIMINGS).exists():
            raise UsageError(f"{folder} has no {files.TIMINGS}: give the folder of a timing run")
    earlier, later = run.read(before), run.read(after)
    found = comparison.compare(
        earlier.timings, later.timings, threshold, by_control=trend.baseline_changed(earlier, later)
    )
    shown = console()
    for line in trend.changed_surroundings(earlier, later):
        shown.print(line, soft_wrap=True)
    others = comparison.others(earlier.timings, later.timings)
    timing_table.show_changes(found, others, shown)
    worse = (comparison.SLOWER, comparison.LOST)
    raise SystemExit(1 if any(change.verdict in worse for change in found) else 0)
