"""Writing so that a kill, a full disk or a power cut loses nothing that was written before.

What is said here holds of a process that is killed, and, since files are synced, of a machine that
loses its power.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import IO, Any

from rnnparity.errors import UsageError

# What a file is called while it is written as a whole.
PART = ".part"

# What file systems answer that cannot be told to sync.
NO_SYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn what the system says where a file of a run cannot be written into a line for a person.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}; what was recorded before is kept, and "
            f"--resume --out {path.parent} goes on"
        ) from None


def replace(path: Path, data: bytes) -> None:
    """Write a file as a whole: it holds what it held before until it holds all of the data.

    Raises:
        UsageError: it cannot be written, and holds what it held before.
    """
    part = path.with_name(path.name + PART)
    with refusing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                _sync(file)
            part.replace(path)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise


def append(file: FileIO, data: bytes) -> None:
    """Write to the end of an unbuffered file, all of it or, if that fails, nothing."""
    before = os.fstat(file.fileno()).st_size
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[file.write(rest) :]
        _sync(file)
    except OSError:
        with suppress(OSError):
            file.truncate(before)
        raise


def _sync(file: IO[Any] | FileIO) -> None:
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
