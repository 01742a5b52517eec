"""Processes started fresh for one implementation, whose death is one record and no more.

The pool is loky's: its workers are fresh interpreters that get their environment variables before
anything is imported, and do not import the caller's script again. What a worker prints goes to a
log file of its own.
"""

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, BrokenExecutor, Executor, Future, wait
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from loky import ProcessPoolExecutor
from loky.process_executor import ShutdownExecutorError

from rnnparity.errors import UsageError, explain
from rnnparity.implementations.settings import Settings
from rnnparity.runs import answers, leftovers, parcels, serving

P = ParamSpec("P")
R = TypeVar("R")


# The current folder is no place to import libraries from; and a process that has grown by so many
# bytes is not taken for a leak and started anew, since large cases are no leaks.
ENVIRONMENT = {"PYTHONSAFEPATH": "1", "LOKY_MAX_MEMORY_LEAK_SIZE": "1e18"}

# Seconds after which a wait looks up. The kernel may hand Ctrl-C to any thread, and then the main
# thread learns of it when it next runs a line of Python, not while it waits.
WAKE_EVERY = 0.5

# Looks after which an answer is lost: its process has it, and has done nothing since.
LOST_AFTER = 20

# Seconds that a pool, whose process is dead, has to end its threads.
STOPPED_WITHIN = 10


class WorkerLost(Exception):
    """The worker died, did not answer, or answered what it should not; the message says which."""


class Misbehaved(Exception):
    """The worker is dead, or takes more than it may; the message says which."""


# Starts what runs a worker's functions, one at a time, under settings and with a log.
Start = Callable[[Settings, Path], Executor]


def fresh_process(settings: Settings, log: Path) -> Executor:
    """Start a fresh interpreter with the settings' variables, whose output goes to the log."""
    mark = leftovers.mark()
    places, folder = parcels.for_workers()
    counted = Path(folder) / f"answers-{mark}"
    executor: Any = ProcessPoolExecutor(
        max_workers=1,
        initializer=serving.begin,
        initargs=(os.getpid(), str(log), str(counted), places, folder),
        env=settings.environment_variables() | ENVIRONMENT | {leftovers.MARK: mark},
    )
    executor.mark, executor.counted = mark, counted
    found: Executor = executor
    return found


class Worker:
    """One process at a time, started when first called and anew after it was lost."""

    def __init__(self, settings: Settings, log: Path, start: Start = fresh_process) -> None:
        """Start nothing yet.

        Args:
            settings: of the process.
            log: gets what it prints.
            start: makes the executor that runs it: this or any other of `concurrent.futures`.
        """
        self._settings, self._log, self._start = settings, log, start
        self._executor: Any = None  # an Executor
        self._asked = 0
        self._idle, self._spent = 0, -1.0  # looks since its answer, and the CPU's seconds then
        self._started: set[Any] = set()  # of psutil's processes
        self._closed = False
        self._lock = threading.Lock()

    def call(
        self, timeout: float, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run a function in the process.

        Args:
            timeout: seconds to wait for the answer.
            function: importable by name in the worker.
            *args: its arguments, picklable. Paths in specs and cases do not travel: files do.
            **kwargs: its keyword arguments, picklable.

        Returns:
            What the function says it returns, made of plain data.

        Raises:
            WorkerLost: the process died, or did not answer in time, or not what it should, and was
                killed.
            UsageError: the function raised one, or a file cannot be sent.
        """
        packed, sent = parcels.pack(args, kwargs), dict[str, parcels.Parcel]()
        try:
            while True:
                future = self._submitted(function, packed.data, *sent.values())
                told = _awaited(future, timeout, self._look)
                try:
                    return answers.read(told, function)
                except parcels.Lacking as lacking:
                    (digest,) = lacking.args
                    if digest not in packed.originals or digest in sent:
                        raise answers.WrongAnswer("asked for a file that is not lacking") from None
                    sent[digest] = packed.originals[digest].parcel()
        except (UsageError, WorkerLost):
            raise
        except Misbehaved as misbehaved:
            why = str(misbehaved)
        except FutureTimeout:
            why = f"gave no answer in {timeout:g} s and was stopped"
        except (BrokenExecutor, ShutdownExecutorError) as error:  # now, or since the last call
            why = _cause(str(error))
        except answers.WrongAnswer as wrong:
            why = str(wrong)
        except Exception as error:  # an executor's own
            why = explain(error)
        self.stop()
        raise WorkerLost(why)

    def _submitted(self, function: Any, packed: bytes, *sent: parcels.Parcel) -> "Future[bytes]":
        with self._lock, _shielded():
            if self._closed:
                raise WorkerLost("was stopped")
            if self._executor is None:
                self._executor = self._start(self._settings, self._log)
                self._asked, self._started = 0, set()
            self._asked, self._idle = self._asked + 1, 0
            future: Future[bytes] = self._executor.submit(serving.noted, function, packed, *sent)
            return future

    def _look(self) -> None:
        """Look at what the process takes while it is waited for.

        Raises:
            Misbehaved: more memory than it may; or it is dead.
        """
        leftovers.cut(self._log)
        pids = [*(getattr(self._executor, "_processes", None) or {})]
        for pid in pids:
            code = leftovers.exit_code(pid)
            if code is not None:  # the pool does not see it while a child holds its pipes
                raise Misbehaved(_cause(ending(code)))
        self._started |= (now := leftovers.started(pids))
        most = self._settings.memory or leftovers.most_memory()
        if (taken := leftovers.memory(now, most)) > most:
            raise Misbehaved(
                f"took {_size(taken)} of memory and was stopped: {_size(most)} are allowed "
                "(--memory; in Python, Settings.memory)"
            )
        counted = getattr(self._executor, "counted", None)
        if counted is not None and leftovers.size(counted) >= self._asked:
            before, self._spent = self._spent, leftovers.seconds(pids)
            self._idle = self._idle + 1 if self._spent == before else 0
        if self._idle > LOST_AFTER:
            raise Misbehaved("has broken the pipe that its answers take")

    def stop(self) -> None:
        """Kill the process, if there is one, and what it has left behind."""
        with self._lock:
            executor, self._executor = self._executor, None
        if hasattr(executor, "mark"):
            own = leftovers.started(getattr(executor, "_processes", None) or ())
            leftovers.end(executor.mark, self._started | own)
            executor.counted.unlink(missing_ok=True)
            ending = partial(executor.shutdown, wait=True, kill_workers=True)
            ended = threading.Thread(target=ending, daemon=True)
            ended.start()
            ended.join(WAKE_EVERY)
            if ended.is_alive():  # the pool awaits the rest of what was half written to it
                with suppress(Exception):
                    writer = executor._result_queue._writer
                    handle, writer._handle = writer._handle, None  # the pool closes it, too
                    os.close(handle)
            ended.join(STOPPED_WITHIN)
            leftovers.cut(self._log)
        elif executor is not None:
            executor.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Kill the process and start no other."""
        with self._lock:
            self._closed = True
        self.stop()


def _awaited(future: "Future[R]", timeout: float, look: Callable[[], None] = lambda: None) -> R:
    deadline = time.monotonic() + timeout
    while not wait((future,), min(WAKE_EVERY, deadline - time.monotonic())).done:
        if future.cancelled():  # who has stopped the executor: of this, `wait` says nothing
            raise WorkerLost("was stopped")
        if time.monotonic() >= deadline:
            raise FutureTimeout
        look()
    return future.result()


def finish(futures: "Iterable[Future[Any]]") -> None:
    """Wait for all of them, or for the first that raises, and raise what it does."""
    running = set(futures)
    while running:
        done, running = wait(running, WAKE_EVERY, FIRST_EXCEPTION)
        for future in done:
            future.result()


def _size(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def ending(code: int) -> str:
    """Return an exit code as loky's messages have it."""
    return f"{signal.Signals(-code).name}({code})" if code < 0 else f"EXIT({code})"


def _cause(message: str) -> str:
    signalled = re.search(r"(SIG[A-Z]+)\(-\d+\)", message)
    if signalled:
        meaning = {"SIGSEGV": "segmentation fault", "SIGKILL": "killed, perhaps out of memory"}
        name = signalled[1]
        return f"crashed with {name}" + (f" ({meaning[name]})" if name in meaning else "")
    exited = re.search(r"EXIT\((\d+)\)", message)
    return f"exited with code {exited[1]}" if exited else "ended without an answer"


@contextmanager
def _shielded() -> Iterator[None]:
    """Keep Ctrl-C from processes that are started in here, from their first moment on."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
