"""The two exceptions that carry a message for a person, and their words."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path


class UsageError(ValueError):
    """Input that cannot be used: one line says what was given, what was expected, what to do.

    On the command line it is printed alone, without a traceback, and the exit code is 2.
    """


class ContractViolation(Exception):
    """An implementation returned what the contract does not allow (a shape, a dtype, a type)."""


@contextmanager
def writing_into(directory: Path) -> Iterator[None]:
    """Make a folder, if it is missing, for what is written into it meanwhile.

    Raises:
        UsageError: it cannot be written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UsageError(f"{directory} cannot be written to: {error.strerror}") from None


def no_such(what: str, given: str, there: Iterable[str]) -> str:
    """Return the line for a name that is none of several: the nearest one, then all."""
    names = [*there]
    near = get_close_matches(given, names, 1)
    meant = f"did you mean {near[0]}? There are" if near else "there are"
    return f"no {what} {given!r}: {meant} {', '.join(names)}"


def one_line(told: object, most: int = 300) -> str:
    """Return anybody's text as one line of printable characters, of a bounded length.

    Args:
        told: a text, or what has one; its `__str__` may be somebody's, too, and raise.
        most: characters.
    """
    try:
        text = str(told)[: 8 * most]
    except BaseException:
        text = ""
    shown = "".join(c if c.isprintable() else _escaped(c) for c in " ".join(text.split()))
    return shown if len(shown) <= most else shown[: most - 3] + "..."


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def explain(error: BaseException) -> str:
    """Return an exception as one line, with the file and line that raised it."""
    where, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename.replace("\\", "/").rsplit("/", 1)[-1]
        where = f" ({one_line(file, 80)}:{trace.tb_lineno})"
        trace = trace.tb_next
    name, text = one_line(type(error).__name__, 80), one_line(error)
    if isinstance(error, SystemExit):
        try:
            text = one_line(repr(error.code), 80)
        except BaseException:  # somebody's __repr__
            text = type(error.code).__name__
        return f"raises SystemExit({text}){where}"
    return f"raises {name}{text and f': {text}'}{where}"
