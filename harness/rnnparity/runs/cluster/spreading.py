"""Spreading the checks of a plan over a Dask cluster.

Blocks of cases are made when a worker has room for one, so that a scheduler never holds more than
its workers will do next. In a block go all implementations that the same workers offer: a reference
is then computed once in the whole cluster.
"""

import time
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

import msgspec

from rnnparity.errors import UsageError
from rnnparity.implementations.registry import Spec
from rnnparity.judging.verdict import Judgement
from rnnparity.problems.cases import Case
from rnnparity.records.check import Record
from rnnparity.runs import answers
from rnnparity.runs.cluster import on_worker
from rnnparity.runs.cluster.alike import Alike
from rnnparity.runs.cluster.calls import COME_WITHIN, LOSSES, Call, Cluster, SchedulerGone
from rnnparity.runs.cluster.on_worker import Ask, Offer
from rnnparity.runs.keeping import Event, Keeper
from rnnparity.runs.one_check import chosen_devices, record_of
from rnnparity.runs.plan import Plan
from rnnparity.runs.processes import WorkerLost
from rnnparity.runs.work import Description
from rnnparity.verdicts import Verdict

# A block has so many cases at most, and elements of what goes through them: more than a scheduler's
# work for a task is then done for it, and no worker has references of more than 100 MB or so.
CASES, ELEMENTS = 8, 2e5

# Blocks that are left for each worker when they begin to be smaller: all should end at a time.
LEFT = 3

# Checks that run alone, one on a worker, at a time: all others are done meanwhile.
ALONE = 32

# What a user's `dask worker --resources` may call a card, and the device that is one.
CARDS, CARD = ("CUDA", "GPU"), "cuda"

Pair = tuple[Spec, str]  # an implementation and a device


@dataclass
class Group:
    """Cases that are left for implementations which the same workers offer."""

    pairs: tuple[Pair, ...]
    resource: str
    cases: Alike
    workers: frozenset[str] = frozenset()


@dataclass(eq=False)
class Block:
    """Checks that a worker does in one go; `lost` are calls of workers that came to nothing."""

    asks: tuple[Ask, ...]
    resource: str
    lost: tuple[Call, ...] = ()
    worker: str = ""  # that is to do it alone
    pairs: frozenset[Pair] = field(init=False)

    def __post_init__(self) -> None:
        self.pairs = frozenset((ask.spec, ask.device) for ask in self.asks)


def check_all(plan: Plan, cluster: Cluster, keeper: Keeper) -> None:
    """Check all of a plan on a cluster.

    Raises:
        UsageError: none of its workers can be used, or its scheduler is gone; what was recorded
            till then is kept.
    """
    spreading = _Spreading(plan, keeper, cluster)
    try:
        spreading.run()
    except SchedulerGone as gone:
        raise UsageError(f"{gone}{spreading.told()}") from None
    finally:
        spreading.note()


class _Spreading:
    """What is left to do, and who is doing what."""

    def __init__(self, plan: Plan, keeper: Keeper, cluster: Cluster) -> None:
        self.plan, self.keeper, self.cluster = plan, keeper, cluster
        self.groups: list[Group] = []
        self.again: list[Block] = []
        self.devices: dict[Spec, list[str]] = {}
        self.offered: dict[str, frozenset[Pair]] = {}
        self.suspects: set[str] = set()
        self.failures: dict[str, set[Call]] = {}
        self.kept = set(keeper.done)
        self.planned = 0
        self.stuck: float | None = None

    def run(self) -> None:
        """Do all of it."""
        while True:
            for call, told in self.cluster.answers():
                self._receive(call, call.note, told)
            if not self.cluster.settled:
                continue
            if self.cluster.changed:
                self.cluster.changed = False
                self._regroup()
                self.note()
            self._dispatch()
            if self.cluster.busy:
                self.stuck = None
            if not self.cluster.busy and not self._is_waiting():
                break
        self._tell_absent()

    def told(self) -> str:
        """Return how far it got, in words; "" if it did not begin."""
        kept, of = len(self.kept), max(self.planned, len(self.kept))
        line = (
            f"; {kept} of {of} checks are recorded: give --resume and --out {self.plan.directory}"
        )
        return line if of else ""

    def note(self) -> None:
        """Write where the run is made into its environment."""
        environment = self.keeper.run.environment
        hosts = environment.setdefault("hosts", {})
        hosts |= self.cluster.hosts
        unused = dict(self.cluster.unused)
        environment["cluster"] = {"scheduler": self.cluster.address, "unused": unused}
        for host in hosts.values():
            environment["frameworks"] = host.get("frameworks", {}) | environment["frameworks"]
        self.keeper.run.write_environment()

    def _receive(self, call: Call, block: Block, told: Any) -> None:
        self.suspects.discard(call.worker)
        if not isinstance(told, WorkerLost):
            trouble = _trouble(block.asks, told)
            if not trouble:
                self._blame(block)
                host = self.cluster.labels[call.worker]
                for ask, record in zip(block.asks, told, strict=True):
                    self._keep(answers.in_lines(record), ask.case, host)
                return
            told = WorkerLost(trouble)
        lost = (*block.lost, call)
        if len(block.asks) == 1 and len(lost) >= LOSSES:
            (ask,) = block.asks
            self._keep(self._broken(ask, f"{told}, {len(lost)} times"), ask.case, "")
            return
        self.again += [Block((ask,), block.resource, lost) for ask in block.asks]

    def _blame(self, block: Block) -> None:
        """Refuse workers which failed what another one could do, several times."""
        for call in block.lost:
            self.failures.setdefault(call.worker, set()).add(call)
            if len(self.failures[call.worker]) >= LOSSES:
                self.cluster.refuse(call.worker, "it failed several times where others did not")

    def _keep(self, record: Record, case: Case | None, host: str) -> None:
        record = msgspec.structs.replace(record, definition=case, host=host)
        key = record.implementation, record.device, record.definition
        if key not in self.kept:  # a worker thought lost may have gone on with it
            self.kept.add(key)
            self.keeper.keep(record)

    def _description(self, spec: Spec) -> Description:
        """Return what an implementation is, of a worker that offers it if one does."""
        found = [offer.descriptions[spec.name] for offer in self.cluster.offers.values()]
        found.sort(key=lambda one: (one.verdict is not None, one.verdict == Verdict.ABSENT))
        return found[0] if found else Description()

    def _regroup(self) -> None:
        """Part what is left by who can do it, now that other workers are there."""
        offers = self.cluster.offers
        self.offered = {
            worker: self.offered.get(worker)
            or frozenset((s, d) for s in self.plan.specs for d in self._devices(s, [offer]))
            for worker, offer in offers.items()
        }
        new: dict[tuple[str, str], list[Pair]] = {}  # by kind and resource
        for spec in self.plan.specs:
            seen = self.devices.setdefault(spec, [])
            every = self._devices(spec, offers.values())
            more = [device for device in every if device not in seen]
            if more:
                seen += more
                own = self.plan.cases_of(spec)
                self.planned += len(more) * len(own)
                self.keeper.emit(Event(spec.name, planned=len(seen) * len(own)))
                for device in more:
                    new.setdefault((spec.kind, self._resource(device)), []).append((spec, device))
                    self._tell_earlier(spec, device, own)
        for (_, resource), pairs in new.items():
            cases = [c for c in self.plan.cases_of(pairs[0][0]) if self._left(c, pairs)]
            self.groups.append(Group(tuple(pairs), resource, Alike(cases)))
        parted = []
        for group in self.groups:
            by_workers: dict[frozenset[str], list[Pair]] = {}
            for pair in group.pairs:
                able = frozenset(w for w in offers if self._able(w, {pair}, group.resource))
                by_workers.setdefault(able, []).append(pair)
            for able, pairs in by_workers.items():
                parted.append(Group(tuple(pairs), group.resource, Alike(group.cases), able))
        self.groups = [group for group in parted if group.cases]
        for block in self.again:
            block.worker = ""

    def _devices(self, spec: Spec, offers: Iterable[Offer]) -> list[str]:
        here = [d for offer in offers for d in offer.descriptions[spec.name].devices]
        return chosen_devices(self.plan.devices, list(dict.fromkeys(here)))[0]

    def _resource(self, device: str) -> str:
        """Return what a task on a device takes, if any worker declares it."""
        declared = {name for offer in self.cluster.offers.values() for name in offer.resources}
        found = [name for name in CARDS if name in declared]
        return found[0] if device.startswith(CARD) and found else ""

    def _able(self, worker: str, pairs: AbstractSet[Pair], resource: str) -> bool:
        declared = self.cluster.offers[worker].resources
        return pairs <= self.offered[worker] and (not resource or bool(declared.get(resource)))

    def _tell_earlier(self, spec: Spec, device: str, cases: Iterable[Case]) -> None:
        for case in cases:
            earlier = self.keeper.done.get((spec.name, device, case))
            if earlier is not None:
                self.keeper.emit(Event(spec.name, record=earlier, earlier=True))

    def _left(self, case: Case, pairs: Iterable[Pair]) -> list[Pair]:
        return [(s, d) for s, d in pairs if (s.name, d, case) not in self.kept]

    def _dispatch(self) -> None:
        """Give every worker as much as it can do now, and one block to begin next."""
        for block in self.again[:ALONE]:
            if not block.worker:
                self._reserve(block)
        alone = {block.worker: block for block in self.again[:ALONE]}
        for worker, offer in self.cluster.offers.items():
            if worker in alone:
                if not self.cluster.load(worker):
                    self.again.remove(alone[worker])
                    self._give(worker, alone[worker])
                continue
            while self.cluster.load(worker) < self._room(worker, offer):
                made = self._next(worker)
                if made is None:
                    break
                self._give(worker, made)

    def _reserve(self, block: Block) -> None:
        """Set a worker apart, if one is left, to do a block alone.

        One that has failed it already does it again only where no other can.
        """
        taken = {other.worker for other in self.again[:ALONE]}
        failed = {call.worker for call in block.lost}
        able = {w for w in self.cluster.offers if self._able(w, block.pairs, block.resource)}
        left = (able - failed or able) - taken - self.suspects
        block.worker = min(left, key=self.cluster.load, default="")

    def _room(self, worker: str, offer: Offer) -> int:
        if worker in self.suspects:
            return 0
        slots = max(1, offer.threads // self.plan.settings.threads)
        return slots + (slots == offer.threads)

    def _give(self, worker: str, block: Block) -> None:
        if block.lost:
            self.suspects.add(worker)
        resources = {block.resource: 1.0} if block.resource else None
        self.cluster.call(
            worker, on_worker.check_block, block.asks, resources=resources, note=block
        )

    def _next(self, worker: str) -> Block | None:
        """Make a block for a worker: of what the fewest others can do."""
        able = [group for group in self.groups if group.cases and worker in group.workers]
        if not able:
            return None
        group = min(able, key=lambda group: (len(group.workers), -len(group.cases)))
        most = min(CASES, max(1, len(group.cases) // (LEFT * len(group.workers))))
        asks: list[Ask] = []
        elements = 0.0
        for _ in range(most):
            size = _elements(group.cases.next(worker)) if group.cases else 0.0
            if not size or (elements and elements + size > ELEMENTS):
                break
            case = group.cases.take(worker)
            elements += size
            asks += [Ask(case, spec, device) for spec, device in self._left(case, group.pairs)]
        return Block(tuple(asks), group.resource) if asks else self._next(worker)

    def _is_waiting(self) -> bool:
        """Whether, when no worker does anything, somebody may come who does what is left.

        What nobody has come for is recorded as broken.
        """
        left = [ask for block in self.again for ask in block.asks]
        for group in self.groups:
            left += [Ask(c, s, d) for c in group.cases for s, d in self._left(c, group.pairs)]
        self.stuck = self.stuck or time.monotonic()
        if left and time.monotonic() < self.stuck + COME_WITHIN:
            return True
        for ask in left:
            why = "no worker that offers it is left in the cluster"
            self._keep(self._broken(ask, why), ask.case, "")
        return False

    def _broken(self, ask: Ask, why: str) -> Record:
        told = Judgement(Verdict.ERROR, why, {})
        return record_of(ask.spec, self._description(ask.spec), ask.device, ask.case, told)

    def _tell_absent(self) -> None:
        """Record of each implementation which devices no worker has, or why none can run it."""
        for spec in self.plan.specs:
            description = self._description(spec)
            if description.verdict:
                told = {"": (description.verdict, description.reason)}
            else:
                _, missing = chosen_devices(self.plan.devices, self.devices.get(spec, []))
                told = {wanted: (Verdict.ABSENT, why) for wanted, why in missing.items()}
            for device, (verdict, reason) in told.items():
                judgement = Judgement(verdict, reason, {})
                self.keeper.keep(record_of(spec, description, device, None, judgement))


def _trouble(asks: tuple[Ask, ...], records: list[Record]) -> str:
    """Say what is wrong with the form of an answer; "" if nothing is."""
    if len(records) != len(asks):
        return f"its worker returned {len(records)} records, expected {len(asks)}"
    for ask, record in zip(asks, records, strict=True):
        case = ask.case
        expected = (ask.spec.name, ask.device, case.dtype, case.id, case.config.kind)
        given = (record.implementation, record.device, record.dtype, record.case, record.cell)
        if given != expected:
            return f"its worker returned the record of {given[0]} on {given[3]}, not what was asked"
    return ""


def _elements(case: Case) -> float:
    """Return about how many elements go through a case's layers."""
    config = case.config
    rows = min(case.B or 1, case.judged or case.B or 1)
    return float(case.T * rows * (config.hidden_size + config.input_size) * config.num_cells)
