"""What a worker leaves behind or takes too much of: processes, memory, a log without end.

A worker's children carry its mark in their environment, as all that they start do, in whatever
session; so they are found when the worker is gone. Those that were given another environment are
found as long as the worker lives, whose orphans come back to it.
"""

import contextlib
import ctypes
import os
import secrets
import sys
from collections.abc import Iterable
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import psutil

MARK = "RNNPARITY_WORKER"

# A log is cut to so many bytes when it has grown beyond so many: what floods it says little at the
# end that it did not say at the beginning.
LOG_KEPT, LOG_MOST = 2**20, 2**22

# Seconds that a tracker has to remove semaphores and shared memory of the dead, and a word that is
# in its command line.
TRACKED_WITHIN, TRACKER = 5, "resource_tracker"

# Linux: orphans among what this process has started become its children.
SUBREAPER = 36


def mark() -> str:
    """Return a mark that no other worker has."""
    return secrets.token_hex(8)


def apart() -> None:
    """Let (in a worker) what is started here be found, and none write to our trackers.

    A tracker removes semaphores and shared memory that are left. Ours serve all workers; who needs
    one here starts another.
    """
    if os.name == "posix":
        of_loky = sys.modules.get("loky.backend.resource_tracker")  # not where a Python has no loky
        for module in filter(None, (of_loky, resource_tracker)):
            tracker: Any = module._resource_tracker
            with contextlib.suppress(OSError, TypeError):
                os.close(tracker._fd)
            tracker._fd = None
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)


def started(pids: Iterable[int]) -> set[psutil.Process]:
    """Return processes and all that they have started, as far as it is theirs."""
    found: set[psutil.Process] = set()
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            found |= {process, *process.children(recursive=True)}
    return found


def end(mark: str, known: Iterable[psutil.Process] = (), within: float = TRACKED_WITHIN) -> int:
    """Kill every process with a mark, and those that are known; return how many there were.

    Trackers have some seconds to end by themselves; they are left alone if that is 0.
    """
    doomed, trackers = {*known}, set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                doomed.add(process)
                if any(TRACKER in word for word in process.cmdline()):
                    trackers.add(process)
    ended = sum(map(_kill, doomed - trackers))
    if not within:
        return ended
    _, left = psutil.wait_procs(trackers, within)  # they end when the others have
    return ended + len(trackers) - len(left) + sum(map(_kill, left))


def _kill(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        process.kill()
        return True
    return False


def memory(processes: Iterable[psutil.Process], most: int) -> int:
    """Return the bytes of memory that processes take.

    Pages that they share are counted once, if `most` is reached otherwise: it takes a while.
    """
    found = [_bytes(process, "memory_info", "rss") for process in processes]
    if len(found) < 2 or sum(found) <= most or not hasattr(psutil.Process, "memory_maps"):
        return sum(found)
    return sum(_bytes(process, "memory_full_info", "pss") for process in processes)


def _bytes(process: psutil.Process, method: str, name: str) -> int:
    with contextlib.suppress(psutil.Error, AttributeError):
        return int(getattr(getattr(process, method)(), name))
    return 0


def seconds(pids: Iterable[int]) -> float:
    """Return the seconds of CPU that processes have used."""
    used = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            used += sum(psutil.Process(pid).cpu_times()[:2])
    return used


def size(path: Path) -> int:
    """Return the bytes of a file, none if it is not there."""
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


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
        if size(log) > LOG_MOST:
            os.truncate(log, LOG_KEPT)
            with log.open("ab") as file:
                file.write(f"\n... cut here: it was larger than {LOG_MOST} bytes\n".encode())
