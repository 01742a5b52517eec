"""Who writes into a run's folder: one process at a time. Who only reads it asks for nothing.

The lock is the system's, on a file in the folder: it ends with the process, however that ends, and
what is left of the file then says nothing.
"""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from itertools import takewhile
from pathlib import Path

from rnnparity.errors import UsageError, one_line
from rnnparity.records.disk import PART

LOCK = ".lock"

if sys.platform == "win32":
    import msvcrt

    # The byte that is locked: one far behind what the file says, which others read.
    FAR = 2**30

    def _lock(file: FileIO) -> None:
        file.seek(FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: FileIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold a run's folder, made if missing; what a killed run has half written goes.

    A folder that was made here and got nothing is removed again.

    Raises:
        UsageError: another process holds it, or it cannot be written to.
    """
    path = directory / LOCK
    new = list(takewhile(lambda place: not place.exists(), (directory, *directory.parents)))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = _taken(path)
        try:
            for part in directory.glob(f"*{PART}"):
                part.unlink()
        except OSError:
            _give_back(path, file)
            raise
    except OSError as error:
        raise UsageError(
            f"{one_line(directory, 120)} cannot be written to: {error.strerror}"
        ) from None
    try:
        yield
    finally:
        _give_back(path, file)
        with suppress(OSError):  # there is something in it
            for place in new:
                place.rmdir()


def _taken(path: Path) -> FileIO:
    while True:
        file = path.open("a+b", buffering=0)
        try:
            _lock(file)
        except (BlockingIOError, PermissionError):
            told = _told(file)
            file.close()
            raise UsageError(
                f"{path.parent} is being written by {told}: wait until it ends, or give another "
                "folder"
            ) from None
        except OSError:  # a file system without locks
            return file
        if _is(path, file):
            break
        file.close()  # whoever held it has removed it meanwhile
    with suppress(OSError):  # a disk that is full: who writes records says so
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n".encode())
    return file


def _give_back(path: Path, file: FileIO) -> None:
    with suppress(OSError):  # Windows removes no file that is open: it is left, and harmless
        if _is(path, file):
            path.unlink()
    file.close()


def _is(path: Path, file: FileIO) -> bool:
    """Whether a path still leads to an open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError:
        return False


def _told(file: FileIO) -> str:
    """Return who holds a lock, as its file says."""
    with suppress(OSError):
        file.seek(0)
        return one_line(file.read(200).decode(errors="replace")) or "another process"
    return "another process"
