"""What several commands need: settings, a console, how they are stopped."""

from typing import TYPE_CHECKING, Any

from rnnparity.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console


def settings(threads: str, matmul_precision: str, tanh_absolute: float = 0.0) -> Any:
    """Return the settings that options name.

    Raises:
        UsageError: threads is no number that can be had here.
    """
    from rnnparity.implementations.settings import Settings
    from rnnparity.records.environment import usable_cores

    if threads != "all" and not threads.isdecimal():
        raise UsageError(f"threads is {threads!r}, expected a number of 1 or more, or all")
    count = usable_cores() if threads == "all" else int(threads)
    if count > usable_cores():
        raise UsageError(f"threads is {count}, expected at most {usable_cores()}, the cores here")
    return Settings(threads=count, matmul_precision=matmul_precision, tanh_absolute=tanh_absolute)


def console(stderr: bool = False) -> "Console":
    """Return a console that shows text as it is."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False)


def terminated(*_: object) -> None:
    """Stop as on Ctrl-C: workers ended, records kept."""
    raise KeyboardInterrupt
