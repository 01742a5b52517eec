"""Options as messages name them: in Python's words, or the command line's where that is in front.

Who is in front stands in the environment, so that a run's own processes speak as it does.
"""

import os
from typing import Any

_COMMAND_LINE = "RNNPARITY_SPEAKS_OF_OPTIONS"
# What a function's argument is called on the command line, where that is not its own name.
_OPTIONS = {"x": "--input"}


def of_command_line() -> None:
    """Say that a command line is in front, of this process and those that it starts."""
    os.environ[_COMMAND_LINE] = "1"


def option(name: str, value: Any = None) -> str:
    """Return how an option is given: `--batch-first` or `batch_first=True`.

    Args:
        name: the argument's, in Python.
        value: what it is to be; None to leave that open: `--prefix` or `prefix=`.
    """
    if _COMMAND_LINE not in os.environ:
        return f"{name}=" + ("" if value is None else repr(value).replace("'", '"'))
    flag = _OPTIONS.get(name) or f"--{name.replace('_', '-')}"
    return flag if value is None or value is True else f"{flag} {value}"
