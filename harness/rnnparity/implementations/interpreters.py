"""Which Python runs an implementation: `NAME@PATH`, and what is shown of the path. Starts none."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from rnnparity.errors import UsageError

# Where an environment's own Python is, and what tells that a folder is an environment.
IN_ENVIRONMENT = ("bin/python", "Scripts/python.exe")
OF_ENVIRONMENT = ("pyvenv.cfg", "conda-meta")


def parted(text: str) -> tuple[str, str]:
    """Part what a user wrote into an implementation and the path of its Python.

    Args:
        text: `NAME`, or `NAME@PATH`: of a Python, of an environment, or a command on the PATH.

    Returns:
        The path is absolute, links in it as they are: a link is what makes an environment. It is
        empty if there is none: the implementation runs with the Python of this process.

    Raises:
        UsageError: there is no such file.
    """
    name, at, path = text.rpartition("@")
    if not at or Path(text).is_file():
        return text, ""
    return name, absolute(path)


def absolute(path: str) -> str:
    """Return where a Python is, given by its path, its environment, or as a command.

    Raises:
        UsageError: there is no such file.
    """
    there = Path(path).expanduser()
    found = [there / name for name in IN_ENVIRONMENT] if there.is_dir() else [there]
    for one in found:
        if path and one.is_file():
            return str(one.absolute())
    command = shutil.which(path) if path and "/" not in path and "\\" not in path else None
    if command is None:
        raise UsageError(
            f"no Python {path!r}: expected the path of one, as .venv/bin/python, or of its "
            "environment, behind an @ (torch-rnn@.venv) or --python"
        )
    return str(Path(command).absolute())


def read(path: Path) -> dict[str, str]:
    """Return the Pythons that a file names for implementations: `NAME = PATH` a line, `#` a remark.

    Raises:
        UsageError: it cannot be read, a line is no such line, or there is no such Python.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    found = {}
    for number, line in enumerate(lines, 1):
        bare = line.partition("#")[0].strip()
        name, equals, python = (part.strip() for part in bare.partition("="))
        if bare and not (name and equals and python):
            raise UsageError(f"{path}, line {number}: expected `NAME = PATH`")
        if bare:  # paths are meant from where the file is
            beside = path.parent / python
            found[name] = absolute(str(beside) if beside.exists() else python)
    return found


def labels(pythons: Iterable[str]) -> dict[str, str]:
    """Return what is shown of the paths of Pythons: as much of their ends as tells them apart."""
    places = {python: _place(Path(python)) for python in pythons}
    if len({*places.values()}) < len(places):
        places = {python: Path(python) for python in places}
    return {python: end(str(place), map(str, places.values())) for python, place in places.items()}


def end(path: str, others: Iterable[str], least: int = 1) -> str:
    """Return as much of a path's end as no other of these has.

    Args:
        path: what is shown.
        others: paths, each once; `path` is one of them.
        least: parts of it that are shown.
    """

    def of(path: str, parts: int) -> str:
        return Path(*Path(path).parts[-parts:]).as_posix()

    alike = [*others]
    return next(
        of(path, parts)
        for parts in range(least, len(path) + 3)
        if [of(one, parts) for one in alike].count(of(path, parts)) == 1
    )


def _place(python: Path) -> Path:
    """Return the environment that a Python is of; itself if it is of none."""
    folder = python.parent.parent
    return folder if any((folder / name).exists() for name in OF_ENVIRONMENT) else python
