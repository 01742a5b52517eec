"""What several commands need: settings, a console, how they are stopped, how they end."""

from pathlib import Path
from stat import S_IFREG, S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Any

from rnnparity.errors import UsageError, one_line
from rnnparity.verdicts import Verdict

if TYPE_CHECKING:
    from rich.console import Console

    from rnnparity.records.run import Run


def settings(
    threads: str,
    matmul_precision: str,
    tanh_absolute: float = 0.0,
    memory: str | None = None,
    elsewhere: bool = False,
) -> Any:
    """Return the settings that options name.

    Args:
        threads: a number, or "all" of this machine's.
        matmul_precision: of matrix products.
        tanh_absolute: error that tanh may have besides.
        memory: of a worker, as "4GB".
        elsewhere: whether other machines do the work, whose cores are not known here.

    Raises:
        UsageError: threads is no number that can be had here, or memory no size.
    """
    from rnnparity.implementations.settings import Settings, parse_memory
    from rnnparity.records.environment import usable_cores

    if threads != "all" and not (threads.isdecimal() and len(threads) < 10):
        raise UsageError(
            f"threads is {one_line(threads, 60)!r}, expected a number of 1 or more, or all"
        )
    if threads == "all" and elsewhere:
        raise UsageError("threads is all, expected a number with --cluster: machines may differ")
    count = usable_cores() if threads == "all" else int(threads)
    if count > usable_cores() and not elsewhere:
        raise UsageError(f"threads is {count}, expected at most {usable_cores()}, the cores here")
    return Settings(
        threads=count,
        matmul_precision=matmul_precision,
        tanh_absolute=tanh_absolute,
        memory=0 if memory is None else parse_memory(memory),
    )


def regular(**files: object) -> None:
    """Refuse what has no end, or waits for somebody to write: a pipe, a socket, a device.

    Args:
        **files: what files to be read were given, by what they are of.

    Raises:
        UsageError: one is no regular file.
    """
    for name, given in files.items():
        try:
            mode = Path(str(given)).stat().st_mode if given is not None else S_IFREG
        except (OSError, ValueError):  # whoever reads it says what is wrong
            continue
        if not (S_ISREG(mode) or S_ISDIR(mode)):
            raise UsageError(f"{name} {given} is no regular file: copy what it gives into one")


def other_python(python: str | None, pythons: Path | None) -> str | dict[str, str] | None:
    """Return what `--python` names, or the file of `--pythons`.

    Raises:
        UsageError: both are given, or the file cannot be used.
    """
    if pythons is None:
        return python
    if python is not None:
        raise UsageError("--python and --pythons are both given: give one of them")
    from rnnparity.implementations import interpreters

    regular(pythons=pythons)
    return interpreters.read(pythons)


def console(stderr: bool = False) -> "Console":
    """Return a console that shows text as it is."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False)


def terminated(*_: object) -> None:
    """Stop as on Ctrl-C: workers ended, records kept."""
    raise KeyboardInterrupt


def exit_code(result: "Run", asked_for: list[str]) -> int:
    """Return 0 if all pass, 1 if something is wrong, 130 if it was interrupted.

    Raises:
        UsageError: what was asked for is absent, or nothing was checked.
    """
    from rnnparity.implementations.registry import without_kind

    if result.interrupted:
        return 130
    if any(verdict.is_wrong for verdict in result.verdicts) or result.environment.get("outdated"):
        return 1
    absent = [r for r in result.records if r.verdict == Verdict.ABSENT]
    bare = {text.rpartition("@")[0] or text for text in asked_for}
    missing = [
        r
        for r in absent
        for name in [without_kind(r.implementation)]
        if {r.implementation, name, name.rpartition("@")[0]} & {*asked_for, *bare}
    ]
    if missing:
        raise UsageError(
            f"{missing[0].implementation} was asked for and is absent: {missing[0].reason}"
        )
    if not result.passed and Verdict.XFAIL not in result.verdicts:
        raise UsageError("nothing was checked: see the reasons above")
    return 0
