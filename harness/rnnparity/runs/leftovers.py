"""What a worker leaves behind or takes too much of: processes, memory, a log without end.

A worker's children carry its mark in their environment, as all that they start do, in whatever
session; so they are found when the worker is gone.
"""

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

import psutil

MARK = "RNNPARITY_WORKER"

# A log is cut to so many bytes when it has grown beyond so many: what floods it says little at the
# end that it did not say at the beginning.
LOG_KEPT, LOG_MOST = 2**20, 2**22


def mark() -> str:
    """Return a mark that no other worker has."""
    return secrets.token_hex(8)


def end_marked(mark: str) -> int:
    """Kill every process with a mark, and return how many there were."""
    ended = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                process.kill()
                ended += 1
    return ended


def resident(pids: Iterable[int]) -> int:
    """Return the bytes of memory that processes take, with all that they have started."""
    taken = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            for one in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    taken += one.memory_info().rss
    return taken


def exit_code(pid: int) -> int | None:
    """Return the code with which a process of ours has ended, if it has; None if it lives.

    As Linux tells of what nobody has waited for yet; None elsewhere.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None
    if fields[0] != "Z":
        return None
    status = int(fields[-1])
    return status >> 8 if status & 0x7F == 0 else -(status & 0x7F)


def most_memory() -> int:
    """Return the bytes that a worker may take if nobody says: half of what the machine has."""
    return int(psutil.virtual_memory().total // 2)


def cut(log: Path) -> None:
    """Cut a log that has grown too large; what is written to it goes on at its new end."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > LOG_MOST:
            os.truncate(log, LOG_KEPT)
            with log.open("ab") as file:
                file.write(f"\n... cut here: it was larger than {LOG_MOST} bytes\n".encode())
