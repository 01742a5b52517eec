"""The workers of a Dask cluster: who is there, and calls on them.

A call goes to the worker that it is meant for and to no other, so that it is known here what is
where. What comes back is checked, as what worker processes of this machine answer.
"""

import pkgutil
import queue
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import distributed

from rnnparity.errors import UsageError, explain, one_line
from rnnparity.implementations.registry import Spec
from rnnparity.implementations.settings import Settings
from rnnparity.records.environment import environment
from rnnparity.runs import answers, parcels
from rnnparity.runs.cluster import crews, on_worker
from rnnparity.runs.cluster.crews import Manner
from rnnparity.runs.cluster.offers import in_words, trouble
from rnnparity.runs.cluster.on_worker import Offer
from rnnparity.runs.processes import WAKE_EVERY, WorkerLost

# Seconds from one look at who is there to the next; and after so many without an answer the
# scheduler counts as gone: it may be busy, but not as long.
LOOK_EVERY, SILENT = 1.0, 60.0

# Looks that may come to nothing before a scheduler is asked for nothing any more at the end.
ANSWERING = 10

# Seconds in which workers may come, at the beginning or when there is none left: a batch system
# starts them one after another.
COME_WITHIN = 60.0

# Seconds in which all workers that are there at the beginning should have said what they offer: on
# this depends who is given what. One that is at something else is not waited for.
ASKED_WITHIN = 60.0

# Workers that a task may lose before it counts as broken.
LOSSES = 3

# Imports a module and returns what has a name in it.
GREETING = pkgutil.resolve_name


class SchedulerGone(Exception):
    """The scheduler does not answer any more, or is another one now."""


@dataclass(eq=False)
class Call:
    """A function called on a worker.

    Attributes:
        worker: its address.
        function: importable by name there.
        args: its arguments.
        resources: of Dask, that it takes there.
        note: whatever the caller wants to be told with the answer.
        sent: by digest, the files that go with it.
    """

    worker: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    resources: dict[str, float]
    note: Any
    packed: parcels.Packed | None
    sent: dict[str, Any] = field(default_factory=dict)
    future: Any = None


class Cluster:
    """The workers of a Dask cluster that can do what a run is about.

    Attributes:
        address: of the scheduler.
        manner: what all calls of the run have in common.
        offers: by address, what workers offer.
        labels: by address, what records call the machine: its name, with the worker's where two on
            one machine are not alike.
        unused: by address, why a worker is not used.
        changed: whether workers came or went since somebody has set this to False.
    """

    def __init__(
        self, client: Any, specs: Sequence[Spec], settings: Settings, timeout: float
    ) -> None:
        """Ask nobody yet."""
        self._client, self._specs = client, tuple(specs)
        self.address = str(client.scheduler.address)
        self.manner = Manner(run=secrets.token_hex(8), settings=settings, timeout=timeout)
        self._own = environment(settings)
        self.offers: dict[str, Offer] = {}
        self.labels: dict[str, str] = {}
        self.unused: dict[str, str] = {}
        self.changed = False
        self._environments: dict[str, dict[str, Any]] = {}  # by label
        self._loads: dict[str, float] = {}
        self._calls: dict[str, set[Call]] = {}  # by worker
        self._files: dict[str, Any] = {}  # by digest, the futures of what is sent
        self._arrived: queue.SimpleQueue[tuple[Call, Any] | None] = queue.SimpleQueue()
        self._present: frozenset[str] | None = None
        self._heard = self._peopled = time.monotonic()
        self._count, self._settled, self._late = 0, False, self._heard + ASKED_WITHIN
        client.loop.add_callback(self._watch)

    def load(self, worker: str) -> int:
        """Return how many calls a worker has not answered yet."""
        return len(self._calls.get(worker, ()))

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited."""
        return any(self._calls.values())

    @property
    def settled(self) -> bool:
        """Whether those that were there at the beginning have said what they offer."""
        asked = not self.busy or time.monotonic() > self._late
        self._settled = self._settled or bool(self.offers and asked)
        return self._settled

    @property
    def hosts(self) -> dict[str, dict[str, Any]]:
        """By label, the environment of each machine that was there."""
        return {
            label: environment | {"load_at_start": self._loads[label]}
            for label, environment in self._environments.items()
        }

    def call(
        self,
        worker: str,
        function: Callable[..., Any],
        *args: Any,
        resources: dict[str, float] | None = None,
        note: Any = None,
    ) -> None:
        """Call a function on a worker; `answers` has what came of it."""
        packed = parcels.pack((self.manner, *args), {})
        self._submit(Call(worker, function, args, resources or {}, note, packed))

    def answers(self) -> Iterator[tuple[Call, Any]]:
        """Return what has come of calls, waiting a moment if nothing has.

        Of each call what its function returned, as the type that it says it returns; or a
        `WorkerLost` that says why there is nothing. Meanwhile workers come and go.

        Raises:
            SchedulerGone: there is no scheduler any more.
            UsageError: a file cannot be sent.
        """
        arrived = []
        with suppress(queue.Empty):
            arrived.append(self._arrived.get(timeout=WAKE_EVERY))
            while True:
                arrived.append(self._arrived.get_nowait())
        if self._client.status != "running":
            raise SchedulerGone(f"the scheduler {self.address} is gone")
        if time.monotonic() - self._heard > SILENT:
            raise SchedulerGone(f"the scheduler {self.address} has not answered for {SILENT:g} s")
        for one in arrived:
            if one is None:
                continue
            call, told = one
            if call not in self._calls.get(call.worker, ()):
                continue  # given up meanwhile
            self._calls[call.worker].discard(call)
            if call.function is GREETING:
                self._greet(call.worker, told)
                continue
            found = self._read(call, told)
            if found is None:
                self._submit(call)
            elif call.function is on_worker.offer:
                self._welcome(call.worker, found)
            else:
                yield call, found
        if None in arrived:
            self._look()
            yield from self._lost()

    def survey(self) -> dict[str, Any]:
        """Return what the workers that are there offer, in words, and why some are not used.

        Raises:
            UsageError: there are none, or there is no scheduler any more.
        """
        try:
            while self.busy or not (self.offers or self.unused):
                for _ in self.answers():
                    pass
        except SchedulerGone as gone:
            raise UsageError(str(gone)) from None
        workers = sorted(self.offers.items(), key=lambda one: (one[1].host, one[1].name))
        return {"workers": [in_words(*one) for one in workers], "unused": dict(self.unused)}

    def refuse(self, worker: str, why: str) -> None:
        """Give a worker no more calls."""
        if self.offers.pop(worker, None) is not None:
            self.unused[worker] = one_line(why)
            self.changed = True

    def close(self) -> None:
        """Give up what is still awaited, and end what the run has left on the workers."""
        with suppress(Exception):
            futures = [call.future for calls in self._calls.values() for call in calls]
            self._calls.clear()
            answering = time.monotonic() - self._heard < ANSWERING * LOOK_EVERY
            if self._client.status == "running" and answering:
                self._client.cancel([*futures, *self._files.values()], force=True)
                workers = [worker for worker in self._present or () if worker in self.offers]
                finish, run = crews.finish, self.manner.run
                if workers:
                    self._client.run(finish, run, workers=workers, on_error="ignore")

    def _submit(self, call: Call) -> None:
        self._count += 1
        if call.packed is None:
            task = (call.function, *call.args)
        else:
            task = (on_worker.answer, call.function, call.packed.data, *call.sent.values())
        call.future = self._client.submit(
            *task,
            key=f"rnnparity-{self.manner.run}-{self._count}",
            workers=[call.worker],
            allow_other_workers=False,
            resources=call.resources or None,
            pure=False,
        )
        self._calls.setdefault(call.worker, set()).add(call)
        self._client.loop.add_callback(self._collect, call, call.future)

    async def _collect(self, call: Call, future: Any) -> None:
        """Wait for an answer, in the client's loop."""
        try:
            told = await self._client.gather(future, asynchronous=True)
        except BaseException as error:
            told = error
        self._arrived.put((call, told))

    async def _watch(self) -> None:
        """Look from time to time who is there, in the client's loop."""
        import asyncio

        while self._client.status not in ("closing", "closed"):
            with suppress(Exception):
                self._present = frozenset(await self._client.nthreads())
                self._heard = time.monotonic()
            self._arrived.put(None)
            await asyncio.sleep(LOOK_EVERY)

    def _look(self) -> None:
        """Ask workers that have come what they offer.

        Raises:
            SchedulerGone: there is no scheduler any more.
            UsageError: there are no workers, and none have come in time.
        """
        now = time.monotonic()
        present = self._present or frozenset()
        if present - self.unused.keys():
            self._peopled = now
        elif now - self._peopled > COME_WITHIN:
            raise SchedulerGone(self._nobody(present))
        for worker in present - self._known():
            self._submit(Call(worker, GREETING, (on_worker.__name__ + ":VERSION",), {}, None, None))

    def _known(self) -> set[str]:
        asked = {worker for worker, calls in self._calls.items() if calls}
        return {*self.offers, *self.unused, *asked}

    def _nobody(self, present: frozenset[str]) -> str:
        if not present:
            return f"the scheduler {self.address} has had no worker for {COME_WITHIN:g} s"
        first = min(present & self.unused.keys())
        return (
            f"none of the {len(present)} workers of {self.address} can be used: {first}: "
            f"{self.unused[first]}"
        )

    def _greet(self, worker: str, told: Any) -> None:
        """Ask a worker what it offers, if it has this version; note why not."""
        if isinstance(told, BaseException):
            why = f"it cannot import rnnparity ({one_line(told)}): pip install 'rnnparity[cli]'"
            self.unused[worker] = one_line(why)
        elif told != on_worker.VERSION:
            given = one_line(told, 40)
            self.unused[worker] = f"it has rnnparity {given}, and this is {on_worker.VERSION}"
        else:
            self.call(worker, on_worker.offer, self._specs)

    def _welcome(self, worker: str, found: Offer | WorkerLost) -> None:
        """Take a worker on that has said what it offers, or note why not."""
        why = trouble(found, self._specs, self.manner.settings, self._own["commit"])
        if why:
            self.unused[worker] = one_line(why)
            return
        assert isinstance(found, Offer)
        self.offers[worker] = found = answers.in_lines(found)
        self.labels[worker] = self._label(found)
        self._loads.setdefault(self.labels[worker], found.load)
        self.changed = True

    def _label(self, offer: Offer) -> str:
        names = [offer.host, f"{offer.host} ({offer.name})"]
        for name in [*names, f"{offer.host} ({offer.name}, {secrets.token_hex(2)})"]:
            if self._environments.setdefault(name, offer.environment) == offer.environment:
                return name
        raise AssertionError

    def _lost(self) -> Iterator[tuple[Call, WorkerLost]]:
        """Forget workers that are gone, and return their calls."""
        if self._present is None:
            return
        for worker in self._known() - self._present - self.unused.keys():
            self.changed |= self.offers.pop(worker, None) is not None
            for call in self._calls.pop(worker, set()):
                call.future.cancel()
                if call.function not in (GREETING, on_worker.offer):
                    yield call, WorkerLost("its worker of the cluster was lost")

    def _read(self, call: Call, told: Any) -> Any:
        """Return an answer; None if the worker is to be sent a file first.

        Raises:
            SchedulerGone: the call was cancelled, by whoever is the scheduler now.
        """
        if isinstance(told, distributed.CancelledError):
            raise SchedulerGone(f"the scheduler {self.address} is gone")
        if isinstance(told, distributed.KilledWorker):
            return WorkerLost("its worker of the cluster was lost several times")
        if isinstance(told, BaseException):
            return WorkerLost(explain(told))
        try:
            return answers.read(told, call.function)
        except parcels.Lacking as lacking:
            (digest,) = lacking.args
            originals = call.packed.originals if call.packed else {}
            if digest not in originals or digest in call.sent:
                return WorkerLost("asked for a file that is not lacking")
            call.sent[digest] = self._file(digest, originals[digest])
            return None
        except (answers.WrongAnswer, UsageError) as wrong:
            return WorkerLost(str(wrong))

    def _file(self, digest: str, original: parcels.Original) -> Any:
        """Return a file as the result of a task, which Dask does again if its worker is lost."""
        if digest not in self._files:
            self._files[digest] = self._client.submit(
                _parcel, original.parcel(), key=f"rnnparity-file-{self.manner.run}-{digest}"
            )
        return self._files[digest]


def _parcel(parcel: parcels.Parcel) -> parcels.Parcel:
    return parcel
