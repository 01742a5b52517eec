"""The worker processes of a timing run, which wait while another one measures."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.registry import Spec
from rnnparity.problems.sizes import Job
from rnnparity.records.timing import CONTROL
from rnnparity.runs import answers
from rnnparity.runs.plan import Plan
from rnnparity.runs.processes import Worker, WorkerLost, finish
from rnnparity.timing import machine, turns
from rnnparity.timing.contestants import Contestant
from rnnparity.timing.turns import Measured


class Workers:
    """Processes that live side by side, of which one measures at a time.

    Attributes:
        all: the processes.
        imported: what they have imported.
        threads: by library, the most that it said it used in any of them.
        throttled_by: what held a card's clock down.
    """

    def __init__(self, plan: Plan, directory: Path) -> None:
        """Start none yet: `with` does, and ends them."""
        self._settings, self._plan, self._directory = plan.settings, plan, directory
        self._stack = ExitStack()
        self.all: list[Worker] = []
        self.imported: set[Spec] = set()
        self.threads: dict[str, int] = {}
        self.throttled_by: set[str] = set()

    def __enter__(self) -> "Workers":
        self.all = [self.another() for _ in range(self._plan.processes)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def warm(self, contestants: tuple[Contestant, ...]) -> None:
        """Import what is new in all of them, two at a time, before it is measured."""
        new = tuple(one for one in contestants if one.spec not in self.imported)
        self.imported |= {one.spec for one in new}
        if not new:
            return

        def begin(worker: Worker) -> None:
            with suppress(WorkerLost):  # shows again, with its reason, when it is to measure
                found = worker.call(self._plan.timeout, turns.warm, new, self._settings)
                for name, count in found.items():
                    self.threads[name] = max(count, self.threads.get(name, 0))

        with ThreadPoolExecutor(2) as pool:
            try:
                finish([pool.submit(begin, worker) for worker in self.all])
            except BaseException:  # Ctrl-C: the pool waits for its threads, and they for these
                self._stack.close()
                raise

    def another(self) -> Worker:
        """Start a worker; it is closed with all others, or before by who asked for it."""
        worker = Worker(self._settings, self._directory / "worker-timing.log")
        self._stack.callback(worker.close)  # should Ctrl-C come first
        return worker

    def best(self, frameworks: list[str]) -> dict[str, Any]:
        """Return the best that the machine does, by `machine.best`, or why that is not known."""
        try:
            arguments = tuple(frameworks), self._settings
            return {**self.all[0].call(self._plan.timeout, machine.best, *arguments)}
        except WorkerLost as lost:
            return {"error": f"the process {lost}"}

    def measure(
        self,
        worker: Worker,
        contestants: tuple[Contestant, ...],
        device: str,
        job: Job,
        budget: float,
        seed: int,
        fresh_every: int = turns.FRESH_EVERY,
    ) -> tuple[dict[str, Measured], dict[str, Outcome]]:
        """Have contestants take turns in a process.

        Raises:
            WorkerLost: it was lost, or its answer is not what came of them in the same rounds.
        """
        found, kept = worker.call(
            self._plan.timeout * len(contestants),
            turns.measure,
            *(contestants, self._settings, job, device, budget, seed, fresh_every),
        )
        timed = {name: len(one.seconds) for name, one in found.items() if not one.error}
        judged = timed.keys() - {c.name for c in contestants if c.role == CONTROL}
        whole = found.keys() == {c.name for c in contestants} and judged <= kept.keys()
        if not whole or len({*timed.values()}) > 1:
            raise WorkerLost(f"returned rounds of {timed}, expected as many of each")
        told = {name: answers.in_lines(one) for name, one in found.items()}
        return told, {name: answers.checked(kept[name], job.case) for name in judged}
