"""What a worker of a Dask cluster does: says what it offers, and checks blocks of cases.

Implementations run in processes of their own here, too, never in the worker's: these are kept from
block to block, and end with the run, with the worker, or when nothing is asked of them any more.
"""

import ctypes
import multiprocessing
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from rnnparity.implementations import stopwatch
from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.registry import Spec
from rnnparity.judging.reference import Reference, reference
from rnnparity.judging.verdict import Judgement
from rnnparity.problems.cases import Case
from rnnparity.records.check import Record
from rnnparity.records.environment import environment
from rnnparity.runs import answers, parcels
from rnnparity.runs.cluster import crews
from rnnparity.runs.cluster.crews import Manner
from rnnparity.runs.one_check import record_of
from rnnparity.runs.work import Description

# What a worker is asked first, by a function of Python's own: a worker of Dask that is sent what it
# cannot import ends, and it may be somebody else's.
VERSION = version("rnnparity")

# Of an environment, what concerns the command that the client was given.
OF_CLIENT = ("schema", "started", "command", "settings")

# What Dask sets for its own worker, and no implementation should inherit: the C library gives
# memory back to the system at every call, which shows in the times.
OF_DASK = {"MALLOC_TRIM_THRESHOLD_": "65536"}

# What is said to glibc in a worker for which Dask has set it, of mallopt(3), and in bytes: memory
# is kept for the next array. Judging is slower where every array is new pages.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT = {M_TRIM_THRESHOLD: 2**26, M_MMAP_THRESHOLD: 2**25}


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
    """Say what there is: each implementation is loaded in the process that will run it."""
    worker = crews.worker()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    with crews.state(manner).crew() as crew:  # what is loaded now is what checks will need
        descriptions = {spec.name: crew.describe(spec) for spec in specs}
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
    state, references, baselines = crews.state(manner), crews.Once(), crews.Once()
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


@cache
def _prepare() -> None:
    """Make a process of Dask one that may start others, with the environment of the user."""
    # Workers under a nanny are daemons, which `multiprocessing` lets have no children. Ours end
    # themselves when this process is gone.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    for name, value in OF_DASK.items():
        if os.environ.get(name) == value:
            del os.environ[name]
            _keep_memory()


def _keep_memory() -> None:
    """Have the C library, if it is glibc, keep memory that is freed for what comes next."""
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, size in KEPT.items():
            mallopt(parameter, size)


def _machine() -> str:
    """Return what two workers on one machine have in common, also in containers."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()
