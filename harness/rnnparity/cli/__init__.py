"""The command line. Starts fast: what a command needs is imported when it runs.

options   options and arguments that several commands have
shared    what several commands need
running   check, bench, run
judging   judge
reports   list, report, compare
files     new, export
findings  findings
scoreboard  scoreboard
selftest  selftest
"""

import os
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from rnnparity import words
from rnnparity.cli import files, findings, judging, reports, running, scoreboard, selftest
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
    *(selftest.selftest, findings.findings, scoreboard.scoreboard),
):
    app.command()(command)


def main() -> None:
    """Run the command line; a usage error is one line and exit code 2."""
    _open_streams()
    words.of_command_line()
    try:
        _refuse_empty(sys.argv[1:])
        try:
            status = app(standalone_mode=False)
        finally:
            sys.stdout.flush()  # what cannot be written is told here, not when Python ends
        raise SystemExit(status or 0)
    except _WrongWords as error:
        if error.ctx is None or type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            raise SystemExit(2) from None
        _refuse(f"{error.format_message().rstrip('.')} ({error.ctx.command_path} -h tells more)")
    except UsageError as error:
        _refuse(str(error))
    except UnicodeEncodeError as error:
        given = one_line(repr(error.object), 80)
        _refuse(f"{given} has characters that no name of a file has")
    except BrokenPipeError:  # whoever read our output has closed it
        _give_up_output()
        raise SystemExit(1) from None
    except MemoryError:
        _refuse("what was given is larger than this machine's memory")
    except OSError as error:  # a name too long for the file system, a disk that is full, ...
        where = f"{one_line(error.filename, 120)}: " if error.filename else ""
        _give_up_output()
        _refuse(f"{where}{error.strerror or one_line(error)}")


def _refuse_empty(given: list[str]) -> None:
    """Refuse an empty word, which would be read as the current folder where a path is expected.

    Raises:
        UsageError: there is one.
    """
    for before, word in pairwise(["rnnparity", *given]):
        option, equals, value = word.partition("=")
        if not word or (word.startswith("--") and equals and not value):
            raise UsageError(
                f"what stands behind {option or before} is empty: give a value, or leave it out "
                "(a variable of the shell that is not set?)"
            )


def _refuse(line: str) -> NoReturn:
    with suppress(OSError):
        sys.stderr.write(f"rnnparity: {one_line(line, MOST)}\n")
    raise SystemExit(2) from None


def _open_streams() -> None:
    """Open what the shell has closed (`>&-`): else a file of the run would take its number."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            # It takes the lowest number that is free: this one's.
            stream = Path(os.devnull).open("r+")  # noqa: SIM115
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def _give_up_output() -> None:
    """Let what is left of our output go nowhere: Python would try once more, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
