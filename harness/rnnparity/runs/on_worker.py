"""What a worker of a Dask cluster does: says what it offers, and checks blocks of cases.

Implementations run in processes of their own here, too, never in the worker's: these are kept from
block to block, and end with the run, with the worker, or when nothing is asked of them any more.
"""

import atexit
import multiprocessing
import os
import shutil
import socket
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from rnnparity.errors import UsageError
from rnnparity.implementations import stopwatch
from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.registry import BASELINE, Spec, registered
from rnnparity.implementations.settings import Settings
from rnnparity.judging.reference import Reference, reference
from rnnparity.judging.verdict import Judgement
from rnnparity.problems.cases import Case
from rnnparity.records.check import Record
from rnnparity.records.environment import environment
from rnnparity.runs import answers, parcels, work
from rnnparity.runs.examiner import Examiner
from rnnparity.runs.one_check import Check, record_of
from rnnparity.runs.processes import Worker, WorkerLost
from rnnparity.runs.work import Description
from rnnparity.verdicts import Verdict

# What a worker is asked first, by a function of Python's own: a worker of Dask that is sent what it
# cannot import ends, and it may be somebody else's.
VERSION = version("rnnparity")

# Processes of implementations that a worker keeps for each block that it does at a time: all that
# are registered, with the peers, of one kind of layers. Each may hold half a GB.
KEPT = 14

# Seconds without a block after which a worker ends them: whoever gave the blocks is gone.
IDLE = 300.0

# Of an environment, what concerns the command that the client was given.
OF_CLIENT = ("schema", "started", "command", "settings")

# What Dask sets for its own worker, and no implementation should inherit: memory is given back to
# the system at every call, which shows in the times.
OF_DASK = {"MALLOC_TRIM_THRESHOLD_": "65536"}


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


class Ask(msgspec.Struct, frozen=True):
    """One check: an implementation on a case and a device."""

    case: Case
    spec: Spec
    device: str


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker offers.

    Attributes:
        name: what Dask calls it.
        host: the machine's name.
        machine: tells whether two workers share a machine, whatever its name in a container.
        threads: how many tasks it does at a time.
        resources: those of Dask that it declares.
        load: of its machine, before the run has put any on it.
        environment: its machine and versions, as `records.environment` describes them.
        descriptions: by name, what each implementation turned out to be there.
    """

    name: str
    host: str
    machine: str
    threads: int
    resources: dict[str, float]
    load: float
    environment: dict[str, Any]
    descriptions: dict[str, Description]


def answer(function: Callable[..., Any], packed: bytes, *sent: parcels.Parcel) -> bytes:
    """Call a function on packed arguments and write what came of it, as a worker process does."""
    _prepare()
    told = answers.answer(parcels.call, function, packed, *sent)
    stopwatch.take()
    return told


def offer(manner: Manner, specs: Sequence[Spec]) -> Offer:
    """Say what there is: implementations are loaded one after another, in one process."""
    worker = _worker()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    descriptions = {}
    with tempfile.TemporaryDirectory(prefix="rnnparity-", dir=worker.local_directory) as folder:
        examiner = Worker(manner.settings, Path(folder) / "worker.log")
        for spec in specs:
            try:
                told = examiner.call(manner.timeout, work.describe, spec, manner.settings)
                descriptions[spec.name] = answers.in_lines(told)
            except WorkerLost as lost:
                why = f"on import: {lost}"
                descriptions[spec.name] = Description(verdict=Verdict.ERROR, reason=why)
        examiner.close()
    found = {
        name: value for name, value in environment(manner.settings).items() if name not in OF_CLIENT
    }
    for one in descriptions.values():
        if one.versions:
            found["frameworks"][one.framework] = one.versions
    return Offer(
        name=str(worker.name),
        host=socket.gethostname(),
        machine=_machine(),
        threads=worker.state.nthreads,
        resources=dict(worker.state.total_resources),
        load=load,
        environment=found,
        descriptions=descriptions,
    )


def check_block(manner: Manner, asks: Sequence[Ask]) -> list[Record]:
    """Do checks, and return their records in the same order, without the cases' definitions.

    What several of them need of a case, its reference and what `torch.nn.RNN` makes of it, is made
    once. An implementation goes through its cases before the next one begins.
    """
    state, references, baselines = _state(manner), _Once(), _Once()
    found: dict[Ask, Record] = {}
    with state.crew() as crew:

        def refer(case: Case) -> Reference:
            made: Reference = references(case, lambda: reference(case, manner.settings))
            return made

        def baseline(case: Case) -> Outcome | None:
            made: Outcome | None = baselines(case, lambda: crew.baseline(case))
            return made

        for ask in sorted(asks, key=lambda ask: (ask.spec.name, ask.device)):
            description = crew.describe(ask.spec)
            if description.verdict:
                told = Judgement(description.verdict, description.reason, {})
                record = record_of(ask.spec, description, ask.device, ask.case, told)
            else:
                record = crew.check(ask.spec, ask.device).record(ask.case, refer, baseline)
            found[ask] = msgspec.structs.replace(record, definition=None)
    return [found[ask] for ask in asks]


def finish(run: str) -> None:
    """End what a run has left here; what it is still doing ends soon."""
    state = _states.pop(run, None)
    if state is not None:
        threading.Thread(target=state.close, daemon=True).start()


class _Once:
    """Values that are made when first asked for, and what making them raised."""

    def __init__(self) -> None:
        self._made: dict[Any, Any] = {}

    def __call__(self, key: Any, make: Callable[[], Any]) -> Any:
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
        self._folder = Path(tempfile.mkdtemp(prefix="rnnparity-", dir=_worker().local_directory))
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


def _state(manner: Manner) -> _State:
    with _lock:
        if manner.run not in _states:
            _states[manner.run] = _State(manner)
        return _states[manner.run]


@atexit.register
def _finish_all() -> None:
    for state in [*_states.values()]:
        state.close()


@cache
def _prepare() -> None:
    """Make a process of Dask one that may start others, with the environment of the user."""
    # Workers under a nanny are daemons, which `multiprocessing` lets have no children. Ours end
    # themselves when this process is gone.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    for name, value in OF_DASK.items():
        if os.environ.get(name) == value:
            del os.environ[name]


def _worker() -> Any:
    from distributed import get_worker

    return get_worker()


def _machine() -> str:
    """Return what two workers on one machine have in common, also in containers."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()
