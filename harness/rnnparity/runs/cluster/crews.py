"""The processes of implementations that a worker of a Dask cluster keeps from block to block.

They end with the run, with the worker, or when nothing is asked of them any more.
"""

import atexit
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from rnnparity.errors import UsageError
from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.registry import BASELINE, Spec, registered
from rnnparity.implementations.settings import Settings
from rnnparity.problems.cases import Case
from rnnparity.runs.examiner import Examiner
from rnnparity.runs.one_check import Check
from rnnparity.runs.work import Description

# Processes of implementations that a worker keeps for each block that it does at a time: all that
# are registered, with the peers, of one kind of layers. Each may hold half a GB.
KEPT = 14

# Seconds without a block after which a worker ends them: whoever gave the blocks is gone.
IDLE = 300.0


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is made: what every block of it has in common.

    Attributes:
        run: tells one run from others.
        settings: threads and precision of the implementations' processes.
        timeout: seconds for one case and for an import.
    """

    run: str
    settings: Settings
    timeout: float


def finish(run: str) -> None:
    """End what a run has left here; what it is still doing ends soon."""
    state = _states.pop(run, None)
    if state is not None:
        threading.Thread(target=state.close, daemon=True).start()


class Once:
    """Values that are made when first asked for, and what making them raised."""

    def __init__(self) -> None:
        """Make nothing yet."""
        self._made: dict[Any, Any] = {}

    def __call__(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return what was made for a key, or make it.

        Raises:
            UsageError: making it raised one.
        """
        if key not in self._made:
            try:
                self._made[key] = make()
            except UsageError as error:
                self._made[key] = error
        made = self._made[key]
        if isinstance(made, UsageError):
            raise made
        return made


class _Crew:
    """The processes that one block at a time has."""

    def __init__(self, manner: Manner, folder: Path) -> None:
        self._manner, self._folder, self._count = manner, folder, 0
        self._examiners: OrderedDict[str, Examiner] = OrderedDict()  # the last used one is last
        self._described: dict[str, Description] = {}
        self._checks: dict[tuple[str, str], Check] = {}

    def describe(self, spec: Spec) -> Description:
        return self._describe(spec, spec.name)

    def check(self, spec: Spec, device: str) -> Check:
        examiner = self._examiner(spec, spec.name)
        if (spec.name, device) not in self._checks:
            self._checks[spec.name, device] = Check(examiner, self.describe(spec), device)
        return self._checks[spec.name, device]

    def baseline(self, case: Case) -> Outcome | None:
        """Return what `torch.nn.RNN` makes of a case on the CPU; None if it is not here."""
        spec = registered(case.config.kind).get(BASELINE)
        name = f"baseline of {case.config.kind}"
        if spec is None or "cpu" not in self._describe(spec, name).devices:
            return None
        return self._examiner(spec, name).outcome(case.replace(invariants=False), "cpu")

    def tidy(self) -> None:
        """Forget what was kept of the block, and end those processes that are too many."""
        for examiner in self._examiners.values():
            examiner.forget()
        while len(self._examiners) > KEPT:
            name, examiner = self._examiners.popitem(last=False)
            examiner.stop()
            for key in [key for key in self._checks if key[0] == name]:
                del self._checks[key]

    def stop(self) -> None:
        for examiner in [*self._examiners.values()]:
            examiner.stop()

    def _examiner(self, spec: Spec, name: str) -> Examiner:
        if name not in self._examiners:
            self._count += 1
            manner, log = self._manner, self._folder / f"{id(self)}-{self._count}.log"
            self._examiners[name] = Examiner(spec, manner.settings, log, manner.timeout)
        self._examiners.move_to_end(name)
        return self._examiners[name]

    def _describe(self, spec: Spec, name: str) -> Description:
        if name not in self._described:
            self._described[name] = self._examiner(spec, name).describe()
        return self._described[name]


class _State:
    """What this worker has of a run."""

    def __init__(self, manner: Manner) -> None:
        self._manner = manner
        self._folder = Path(tempfile.mkdtemp(prefix="rnnparity-", dir=worker().local_directory))
        self._lock = threading.Lock()
        self._crews: list[_Crew] = []
        self._idle: list[_Crew] = []
        self._closed = False
        self._timer: threading.Timer | None = None

    @contextmanager
    def crew(self) -> Iterator[_Crew]:
        """Lend processes that nobody else uses meanwhile."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the run is over")
            if self._timer is not None:
                self._timer.cancel()
            if not self._idle:
                self._idle.append(_Crew(self._manner, self._folder))
                self._crews.append(self._idle[-1])
            crew = self._idle.pop()
        try:
            yield crew
        finally:
            crew.tidy()
            with self._lock:
                self._idle.append(crew)
                if len(self._idle) == len(self._crews) and not self._closed:
                    self._timer = threading.Timer(IDLE, finish, (self._manner.run,))
                    self._timer.daemon = True
                    self._timer.start()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
        for crew in self._crews:
            crew.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


_states: dict[str, _State] = {}
_lock = threading.Lock()


def state(manner: Manner) -> _State:
    """Return what this worker has of a run; nothing, the first time."""
    with _lock:
        if manner.run not in _states:
            _states[manner.run] = _State(manner)
        return _states[manner.run]


@atexit.register
def _finish_all() -> None:
    for state in [*_states.values()]:
        state.close()


def worker() -> Any:
    """Return Dask's object of the worker that this is called in."""
    from distributed import get_worker

    return get_worker()
