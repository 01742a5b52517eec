"""Who brings down a process that is shared, or spoils it for the others; they are left out."""

from collections.abc import Callable, Iterable

from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.registry import is_baseline
from rnnparity.problems.sizes import Job
from rnnparity.records.timing import IMPLEMENTATION
from rnnparity.runs.processes import WorkerLost
from rnnparity.timing.contestants import Contestant
from rnnparity.timing.turns import Measured
from rnnparity.timing.workers import Workers
from rnnparity.verdicts import Verdict

Told = tuple[Verdict, str]

# The verdict on a contestant of a job on a device, by what was measured and what was returned.
Judge = Callable[[Contestant, Job, str, list[Measured], Outcome | None], Told]

# Jobs in a row in which one brings the process down, and is timed no more: a hang costs the whole
# time-out, of all that take turns.
LOST_IN_A_ROW = 2


class Culprits:
    """What is known of the contestants of a run, job by job.

    Attributes:
        out: who is timed no more, and why.
    """

    def __init__(self, workers: Workers, budget: float, judge: Judge) -> None:
        """Know nothing yet.

        Args:
            workers: make new processes.
            budget: seconds of the rounds of one job: what takes so many calls to break breaks
                there, too.
            judge: comes to a verdict.
        """
        self._workers, self._budget, self._judge = workers, budget, judge
        self._lost: dict[str, int] = {}
        self.out: dict[str, str] = {}

    def fallen(
        self, contestants: Iterable[Contestant], device: str, job: Job, seed: int
    ) -> dict[str, str]:
        """Return who brings down a process of its own, and how: it brought down the shared one."""
        found = {}
        for one in contestants:
            lost = self._measured((one,), device, job, seed)
            if isinstance(lost, WorkerLost):
                found[one.name] = f"its process {lost}"
        return found

    def note(self, contestants: Iterable[Contestant], fallen: dict[str, str]) -> None:
        """Note of a job who has fallen in it, and leave out who does again and again."""
        for one in contestants:
            count = self._lost.get(one.name, 0) + 1 if one.name in fallen else 0
            self._lost[one.name] = count
            if count >= LOST_IN_A_ROW:
                self.out[one.name] = f"not timed: {fallen[one.name]}, {count} times in a row"

    def spoilers(
        self, contestants: Iterable[Contestant], told: dict[str, Told], device: str, job: Job
    ) -> dict[str, str]:
        """Return who makes others wrong that are right alone, and how.

        Args:
            contestants: those that shared a process.
            told: the verdict on each.
            device: where.
            job: what on.
        """
        found: dict[str, str] = {}
        those = [c for c in contestants if not self._lost.get(c.name)]  # who fell is known
        suspects = [c for c in those if c.role == IMPLEMENTATION and not is_baseline(c.spec)]
        for victim in (c for c in those if told[c.name][0].is_wrong):
            others = [c for c in suspects if c is not victim]
            if not others or self._wrong(victim, (victim,), device, job):
                continue
            for one in (c for c in others if c.name not in found):
                reason = self._wrong(victim, (one, victim), device, job)
                if reason:
                    found[one.name] = f"it changes the process: {victim.name} {reason} beside it"
        return found

    def _wrong(self, one: Contestant, those: tuple[Contestant, ...], device: str, job: Job) -> str:
        """Return what is wrong with one that shares a new process with these; "" if nothing is."""
        measured = self._measured(those, device, job, 0)
        if isinstance(measured, WorkerLost):
            return f"is lost: its process {measured}"
        found, kept = measured
        told = self._judge(one, job, device, [found[one.name]], kept.get(one.name))
        return f"is wrong ({told[1]})" if told[0].is_wrong else ""

    def _measured(
        self, those: tuple[Contestant, ...], device: str, job: Job, seed: int
    ) -> tuple[dict[str, Measured], dict[str, Outcome]] | WorkerLost:
        worker = self._workers.another()
        try:
            return self._workers.measure(worker, those, device, job, self._budget, seed)
        except WorkerLost as lost:
            return lost
        finally:
            worker.close()
