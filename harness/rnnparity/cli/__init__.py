"""The command line. Starts fast: what a command needs is imported when it runs.

options   options and arguments that several commands have
shared    what several commands need
running   check, bench, run
judging   judge
reports   list, report, compare
files     new, export
findings  findings
selftest  selftest
"""

import os
import sys
from typing import Annotated

import typer

from rnnparity import words
from rnnparity.cli import files, findings, judging, reports, running, selftest
from rnnparity.errors import UsageError, one_line

app = typer.Typer(
    name="rnnparity",
    help="Compare implementations of torch.nn.RNN's recurrence: parity, per framework and device.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        sys.stdout.write(f"rnnparity {version('rnnparity')}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


app.command("list")(reports.list_command)
for command in (
    *(running.check, running.bench, running.run, judging.judge),
    *(reports.report, reports.compare),
    *(files.new, files.export),
    *(selftest.selftest, findings.findings),
):
    app.command()(command)


def main() -> None:
    """Run the command line; a usage error is one line and exit code 2."""
    words.of_command_line()
    try:
        app()
    except UsageError as error:
        sys.stderr.write(f"rnnparity: {error}\n")
        raise SystemExit(2) from None
    except UnicodeEncodeError as error:
        given = one_line(repr(error.object), 80)
        sys.stderr.write(f"rnnparity: {given} has characters that no name of a file has\n")
        raise SystemExit(2) from None
    except BrokenPipeError:  # whoever read our output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:  # a name too long for the file system, a disk that is full, ...
        where = f"{one_line(error.filename, 120)}: " if error.filename else ""
        sys.stderr.write(f"rnnparity: {where}{error.strerror or one_line(error)}\n")
        raise SystemExit(2) from None
