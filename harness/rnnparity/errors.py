"""The two exceptions that carry a message for a person; not for failures inside the harness."""

from collections.abc import Iterable
from difflib import get_close_matches


class UsageError(ValueError):
    """Input that cannot be used: one line says what was given, what was expected, what to do.

    On the command line it is printed alone, without a traceback, and the exit code is 2.
    """


class ContractViolation(Exception):
    """An implementation returned what the contract does not allow (a shape, a dtype, a type)."""


def no_such(what: str, given: str, there: Iterable[str]) -> str:
    """Return the line for a name that is none of several: the nearest one, then all."""
    names = [*there]
    near = get_close_matches(given, names, 1)
    meant = f"did you mean {near[0]}? There are" if near else "there are"
    return f"no {what} {given!r}: {meant} {', '.join(names)}"


def explain(error: BaseException) -> str:
    """Return an exception as one line, with the file and line that raised it."""
    try:
        text = " ".join(str(error).split())
    except BaseException:  # somebody's __str__
        text = ""
    text = text if len(text) <= 300 else text[:297] + "..."
    where, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        where = f" ({code.co_filename.replace(chr(92), '/').rsplit('/', 1)[-1]}:{trace.tb_lineno})"
        trace = trace.tb_next
    if isinstance(error, SystemExit):
        return f"raises SystemExit({error.code!r}){where}"
    return f"raises {type(error).__name__}{text and f': {text}'}{where}"
