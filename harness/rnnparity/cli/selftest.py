"""Testing the suite itself: selftest."""

import signal
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from rnnparity.cli.shared import console, settings, terminated


def selftest(
    full: Annotated[
        bool, typer.Option("--full", help="Many more cases: more than half an hour on 2 cores.")
    ] = False,
    timing: Annotated[
        bool, typer.Option("--timing", help="Test the intervals of timings instead.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the random cases.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report.", show_default=False)
    ] = None,
) -> None:
    """Test the verdict itself: right implementations must pass, known mistakes must fail."""
    from rnnparity.records.environment import write_environment

    signal.signal(signal.SIGTERM, terminated)
    passed, parts, file = _trials(full) if timing else _selftest(full, seed)
    sys.stdout.write("\n\n".join(parts[:3]) + "\n")
    if out is not None:
        write_environment(out, settings("1", "float32"))
        (out / file).write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        sys.stdout.write(f"\nwritten to {out / file}\n")
    raise SystemExit(0 if passed else 1)


def _selftest(full: bool, seed: int) -> tuple[bool, list[str], str]:
    """Return whether the verdict is right, what is to be told of it, and the report's name."""
    from rnnparity.report import terminal
    from rnnparity.selftest import drawing, tables, verdict

    plans = drawing.plans(full, seed)
    totals = {
        "soundness": sum(len(group) for plan in plans.values() for group in plan.groups),
        "sensitivity": sum(len(plan.mistakes) for plan in plans.values()),
    }
    with terminal.stages(totals, console(stderr=True)) as advance:
        found = verdict.selftest(plans, progress=advance)
    return found.passed, tables.parts(found), "selftest.md"


def _trials(full: bool) -> tuple[bool, list[str], str]:
    """Return whether intervals of timings are right, what is to be told, and the report's name."""
    from rnnparity.report import terminal
    from rnnparity.selftest import trials as tester

    count = 200 if full else 5
    with terminal.stages({"trials": count}, console(stderr=True)) as advance:
        found = tester.trials(count, progress=partial(advance, "trials"))
    return found.passed, [tester.summary(found)], "trials.md"
