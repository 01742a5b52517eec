"""Another Python: whether workers can run there, and one that does.

It has its own packages, and rnnparity's code from here, whatever of that is installed there.
"""

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from rnnparity.errors import UsageError, one_line
from rnnparity.implementations import sources
from rnnparity.implementations.settings import Settings
from rnnparity.runs import leftovers, parcels, serving
from rnnparity.runs.processes import ENVIRONMENT, STOPPED_WITHIN, ending

# What a worker imports besides a framework, by the names under which it is installed: what the
# package depends on, and psutil, with which a worker ends what it has started.
NEEDED = {
    "array_api_compat": "array-api-compat",
    "ml_dtypes": "ml-dtypes",
    "msgspec": "msgspec",
    "numpy": "numpy",
    "psutil": "psutil",
    "safetensors": "safetensors",
    "threadpoolctl": "threadpoolctl",
}

# As `requires-python` says.
OLDEST = (3, 11)

# Packages whose code is this process's.
OWN = ("rnnparity", "recurrences")

# Seconds that a Python has to say what it is. It may lie on a slow disk.
ASKED_WITHIN = 60

# Variables that say what is imported, of this Python, not of another.
NOT_SENT = ("PYTHONHOME", "PYTHONPATH")

# Prints the version, and which of the arguments cannot be imported. Python 2 understands it, too.
LOOK = """
import sys, json
try:
    from importlib.util import find_spec
    lacking = [name for name in sys.argv[1:] if find_spec(name) is None]
except ImportError:
    lacking = []
print(json.dumps(["%d.%d.%d" % sys.version_info[:3], lacking]))
"""

# Calls a function of our own packages, which are looked for in these folders, and no other there.
CALL = """
import sys
from importlib import import_module
from importlib.machinery import PathFinder

class Own:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, [FOLDERS[name]]) if name in FOLDERS else None

FOLDERS = %r
sys.meta_path.insert(0, Own)
place, *words = sys.argv[1:]
del sys.argv[1:]
module, _, name = place.partition(":")
getattr(import_module(module), name)(*words)
"""


class Python(NamedTuple):
    """What a Python is: its version, and what of `NEEDED` it lacks."""

    version: str
    lacking: tuple[str, ...]


@cache
def look(python: str) -> Python:
    """Ask a Python what it is, once.

    Raises:
        UsageError: it is none, or too old; or this system has no sockets to talk to it.
    """
    if os.name != "posix":
        raise UsageError(f"{python} cannot be used: another Python needs Linux or macOS")
    try:
        told = "".join(_told(python, LOOK, *NEEDED).splitlines()[-1:])  # others may print, too
        version, lacking = msgspec.json.decode(told, type=tuple[str, tuple[str, ...]])
        parts = tuple(map(int, version.split(".")))
    except (OSError, subprocess.SubprocessError, ValueError, msgspec.MsgspecError) as error:
        raise UsageError(f"{python} is no Python that works: {_why(error)}") from None
    if parts < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise UsageError(f"{python} is Python {version}, expected {oldest} or newer")
    return Python(version, lacking)


def absent(python: str) -> str:
    """Return what to do where a Python lacks what workers need; "" if it has all."""
    lacking = look(python).lacking
    if not lacking:
        return ""
    packages = " ".join(NEEDED[name] for name in lacking)
    missing = "is not" if len(lacking) == 1 else "are not"
    return f"{', '.join(lacking)} {missing} installed: {python} -m pip install {packages}"


def fingerprint(python: str, target: str, files: Mapping[str, bytes]) -> str:
    """Return the fingerprint of files, or of a module, with what is installed in another Python.

    Raises:
        UsageError: the Python cannot say it.
    """
    try:
        held = json.dumps({name: data.decode("latin-1") for name, data in files.items()})
        place = f"{sources.__name__}:tell"
        return _told(python, _call(), place, target, given=held.encode()).splitlines()[-1]
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        raise UsageError(f"{python} cannot run rnnparity: {_why(error)}") from None


class Process(Executor):
    """A process of another Python. It does one thing at a time, what it was asked first."""

    def __init__(self, python: str, settings: Settings, log: Path) -> None:
        """Start it with the settings' variables; what it prints goes to the log."""
        self.mark = leftovers.mark()
        places, folder = parcels.for_workers()
        self.counted = Path(folder) / f"answers-{self.mark}"
        variables = settings.environment_variables() | {leftovers.MARK: self.mark}
        self._pipe, theirs = socket.socketpair()
        self._turn = threading.Lock()
        with theirs, _opened(log) as file:
            self._process = subprocess.Popen(
                [python, "-c", _call(), f"{__package__}.serving:serve", str(theirs.fileno())],
                env=_environment() | variables,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                pass_fds=[theirs.fileno()],
            )
        self._processes = {self._process.pid: self._process}
        told = serving.Beginning(os.getpid(), str(log), str(self.counted), places, folder)
        self._first: list[bytes] = [msgspec.msgpack.encode(told)]

    def submit(self, noted: Any, /, *args: Any, **_: Any) -> "Future[Any]":
        """Ask for a function's answer.

        Args:
            noted: what calls it in a process of this Python; there it is the same by its name.
            *args: the function, importable by name there; its packed arguments; files.
            **_: none.
        """
        function, packed, *sent = args
        place = f"{function.__module__}:{function.__qualname__}"
        message = msgspec.msgpack.encode(serving.Call(place, packed, sent))
        future: Future[Any] = Future()
        threading.Thread(target=self._ask, args=(future, message), daemon=True).start()
        return future

    def _ask(self, future: "Future[Any]", message: bytes) -> None:
        with self._turn:
            if not future.set_running_or_notify_cancel():
                return
            try:
                while self._first:
                    serving.send(self._pipe, self._first.pop())
                serving.send(self._pipe, message)
                future.set_result(serving.receive(self._pipe))
            except (OSError, EOFError):
                future.set_exception(BrokenExecutor(self._end()))

    def _end(self) -> str:
        try:
            return ending(self._process.wait(STOPPED_WITHIN))
        except subprocess.TimeoutExpired:  # it has closed its end, and goes on
            return ""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False, **_: Any) -> None:
        """Kill it; who waits for an answer gets an exception."""
        self._process.kill()
        with suppress(OSError):
            self._pipe.shutdown(socket.SHUT_RDWR)
        self._process.wait()
        with self._turn:
            self._pipe.close()


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in NOT_SENT}
    return kept | ENVIRONMENT


def _call() -> str:
    """Return the code that calls our own functions there."""
    return CALL % {name: folder for name in OWN for folder in _folder(name)}


def _folder(package: str) -> Iterable[str]:
    found = find_spec(package)
    return [str(Path(found.origin).parents[1])] if found and found.origin else []


def _told(python: str, code: str, *words: str, given: bytes = b"") -> str:
    done = subprocess.run(
        [python, "-c", code, *words],
        input=given,
        env=_environment(),
        capture_output=True,
        check=True,
        timeout=ASKED_WITHIN,
    )
    return done.stdout.decode(errors="replace")


def _why(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"it said nothing in {ASKED_WITHIN} s"
    if isinstance(error, subprocess.CalledProcessError):
        said = (error.stderr or b"").decode(errors="replace").strip().splitlines()
        return one_line(said[-1]) if said else f"it exits with code {error.returncode}"
    if isinstance(error, OSError):
        return str(error.strerror)
    return "it does not say its version"


@contextmanager
def _opened(log: Path) -> Iterator[IO[bytes]]:
    there = log.parent.is_dir()  # somebody may have removed the run's folder
    with (log if there else Path(os.devnull)).open("ab") as file:
        yield file
