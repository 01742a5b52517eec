"""The command line. Starts fast: what a command needs is imported when it runs.

options   options and arguments that several commands have
shared    what several commands need
running   check, bench, run
judging   judge
reports   list, report, compare
files     new, export
selftest  selftest
"""

import os
import sys
from typing import Annotated, Any

import typer

from rnnparity.cli import files, judging, reports, running, selftest
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


# What is wrong with words on the command line; typer names only what is below this.
_WrongWords: Any = typer.BadParameter.__mro__[2]

# Characters of a line that says what is wrong: of a slip with many alternatives, too.
MOST = 400

app.command("list")(reports.list_command)
for command in (
    *(running.check, running.bench, running.run, judging.judge),
    *(reports.report, reports.compare),
    *(files.new, files.export),
    selftest.selftest,
):
    app.command()(command)


def main() -> None:
    """Run the command line; a usage error is one line and exit code 2."""
    try:
        raise SystemExit(app(standalone_mode=False) or 0)
    except _WrongWords as error:
        if error.ctx is None or type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            raise SystemExit(2) from None
        told = f"{error.format_message().rstrip('.')} ({error.ctx.command_path} -h tells more)"
        sys.stderr.write(f"rnnparity: {one_line(told, MOST)}\n")
        raise SystemExit(2) from None
    except UsageError as error:
        sys.stderr.write(f"rnnparity: {one_line(error, MOST)}\n")
        raise SystemExit(2) from None
    except UnicodeEncodeError as error:
        given = one_line(repr(error.object), 80)
        sys.stderr.write(f"rnnparity: {given} has characters that no name of a file has\n")
        raise SystemExit(2) from None
    except BrokenPipeError:  # whoever read our output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except MemoryError:
        sys.stderr.write("rnnparity: what was given is larger than this machine's memory\n")
        raise SystemExit(2) from None
    except OSError as error:  # a name too long for the file system, a disk that is full, ...
        where = f"{one_line(error.filename, 120)}: " if error.filename else ""
        sys.stderr.write(f"rnnparity: {where}{error.strerror or one_line(error)}\n")
        raise SystemExit(2) from None
