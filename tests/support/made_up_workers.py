"""Workers of a cluster that are made up: they answer as a test says, and nothing is started."""

from dataclasses import dataclass, field
from typing import Any

from rnnparity.cells.config import RNNConfig
from rnnparity.implementations.registry import Spec
from rnnparity.problems.cases import Case
from rnnparity.records.check import Record
from rnnparity.runs.cluster.calls import Call
from rnnparity.runs.cluster.on_worker import Offer
from rnnparity.runs.work import Description
from rnnparity.verdicts import Verdict

SPECS = tuple(Spec(name, f"somebody.{name}") for name in ("plain", "other"))
CASES = tuple(
    Case(config=RNNConfig(input_size=3, hidden_size=4), T=5, B=2, seed=seed) for seed in range(40)
)


def offer(name="w", devices=("cpu",), others=None, threads=1, machine="m", **resources):
    found = {"plain": devices, "other": devices if others is None else others}
    return Offer(
        name=name,
        host="host",
        machine=machine,
        threads=threads,
        resources=resources,
        load=0.0,
        environment={},
        descriptions={
            name: Description(framework="numpy", devices=tuple(there))
            if there
            else Description(verdict=Verdict.ABSENT, reason="it is not here")
            for name, there in found.items()
        },
    )


def right(asks):
    return [
        Record(
            implementation=ask.spec.name,
            framework="numpy",
            device=ask.device,
            dtype=ask.case.dtype,
            case=ask.case.id,
            verdict=Verdict.PASS,
            reason="",
        )
        for ask in asks
    ]


@dataclass
class Workers:
    """Stands for `Cluster`: calls are answered, one a time, by a function of worker and asks."""

    offers: dict[str, Offer]
    answer: Any = lambda worker, asks: right(asks)
    address: str = "tcp://somewhere:1"
    settled: bool = True
    changed: bool = True
    unused: dict[str, str] = field(default_factory=dict)
    hosts: dict[str, Any] = field(default_factory=dict)
    given: list[tuple[str, tuple[Any, ...], Any]] = field(default_factory=list)
    waiting: list[Call] = field(default_factory=list)

    @property
    def busy(self):
        return bool(self.waiting)

    @property
    def labels(self):
        return dict.fromkeys([*self.offers, *self.unused], "host")

    def load(self, worker):
        return sum(call.worker == worker for call in self.waiting)

    def refuse(self, worker, why):
        self.offers.pop(worker, None)
        self.unused[worker] = why
        self.changed = True

    def call(self, worker, function, *args, resources=None, note=None):
        self.given.append((worker, args[0], resources))
        self.waiting.append(Call(worker, function, args, resources or {}, note, None))

    def answers(self):
        if self.waiting:
            call = self.waiting.pop(0)
            told = self.answer(call.worker, call.args[0])
            yield call, told
