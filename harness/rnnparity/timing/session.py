"""The jobs of a timing run: what passed takes turns; what was timed is judged."""

import random
from collections.abc import Callable, Iterable

import msgspec
import numpy as np

from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.registry import Spec, is_alone, is_baseline
from rnnparity.judging.reference import Reference, reference
from rnnparity.judging.verdict import judge
from rnnparity.problems.cases import Case
from rnnparity.problems.sizes import FORWARD, Job, compulsory_bytes, floating_point_operations
from rnnparity.records.run import Run
from rnnparity.records.timing import AGAIN, BOUND, CONTROL, IMPLEMENTATION, Timing
from rnnparity.runs.plan import Plan
from rnnparity.runs.processes import Worker, WorkerLost
from rnnparity.timing import control, machine
from rnnparity.timing.contestants import Contestant
from rnnparity.timing.culprits import Culprits, Told
from rnnparity.timing.samples import suspicion, with_times
from rnnparity.timing.turns import Measured
from rnnparity.timing.workers import Workers
from rnnparity.verdicts import Verdict

# Shorter sequences, whose times tell what a step takes: the share of a job's budget for each, their
# lengths as shares of T, and the T from which there are any.
STEPS_BUDGET, STEPS, STEPS_FROM = 0.3, (0.25, 0.5), 8

# Matrix products alone are timed from this hidden size on; below, it is calls that take the time.
BOUND_FROM = 256

# What speaks against an implementation is looked at once more, in so many new processes at least.
LOOKS = 3


class Session:
    """Times the jobs of a run one by one, and judges what was timed."""

    def __init__(
        self, run: Run, plan: Plan, references: dict[Case, Reference], workers: Workers
    ) -> None:
        """Time nothing yet; `workers` are the processes that will."""
        self.run, self.plan, self.references, self.workers = run, plan, references, workers
        self.specs, self.settings = plan.specs, plan.settings
        self.rng = random.Random(0)
        self.culprits = Culprits(workers, plan.budget, self._verdict)
        self.frameworks = {r.implementation: r.framework for r in run.records}

    def time(self, device: str, job: Job, tell: Callable[[float], None]) -> list[Timing]:
        """Return the timings of one job; of what did not pass, a reason in place of times.

        `tell` is called with the share of it that is done.
        """
        verdicts = {
            r.implementation: r
            for r in self.run.records
            if r.device == device and r.definition == job.case
        }
        passed, timings = [], []
        for spec in self.specs:
            record = verdicts.get(spec.name)
            if record is None:
                continue
            one = Contestant(spec.name, spec)
            if not record.verdict.is_right:
                timings.append(self._timing(one, device, job, record.verdict, record.reason))
            elif is_alone(spec):
                needs = "a Python" if spec.python else "a process"
                why = Verdict.UNSUPPORTED, f"needs {needs} of its own, and all take turns in one"
                timings.append(self._timing(one, device, job, *why))
            elif job.mode != FORWARD and "grad_x" not in record.quantities:
                why = Verdict.UNSUPPORTED, "declares no gradients"
                timings.append(self._timing(one, device, job, *why))
            elif spec.name in self.culprits.out:
                why = Verdict.ERROR, self.culprits.out[spec.name]
                timings.append(self._timing(one, device, job, *why))
            else:
                passed.append(one)
        if not passed:
            return timings
        baseline = next((c for c in passed if is_baseline(c.spec)), passed[0])
        contestants = [*passed, Contestant(f"{baseline.name} again", baseline.spec, AGAIN)]
        contestants += self._bounds(passed, job, device)
        if device == "cpu":
            contestants.append(Contestant(control.NAME, Spec(control.NAME, ""), CONTROL))
        taking_turns = tuple(contestants)
        measured, outcomes = self._measure(taking_turns, device, job, tell)
        told = self._told(taking_turns, device, job, measured, outcomes)
        spoilers = self.culprits.spoilers(taking_turns, told, device, job)
        if spoilers:
            self.culprits.out |= spoilers
            for worker in self.workers.all:
                worker.stop()
            measured, outcomes = self._measure(taking_turns, device, job, tell, spoilers)
            told = self._told(taking_turns, device, job, measured, outcomes)
        there = tuple(c for c in passed if not all(m.error for m in measured[c.name]))
        points = self._steps(there, device, job)
        return timings + self._judged(taking_turns, baseline, device, job, measured, told, points)

    def _bounds(self, passed: list[Contestant], job: Job, device: str) -> list[Contestant]:
        config = job.case.config
        if job.mode != FORWARD or config.hidden_size < BOUND_FROM or config.kind != "rnn":
            return []
        frameworks = {self.frameworks.get(c.name) for c in passed} & {"numpy", "jax", "torch"}
        target = "rnnparity.timing.bare_products:{}_products"
        return [
            Contestant(f"{name} products", Spec(f"{name} products", target.format(name)), BOUND)
            for name in sorted(f for f in frameworks if f)
        ]

    def _measure(
        self,
        contestants: tuple[Contestant, ...],
        device: str,
        job: Job,
        tell: Callable[[float], None],
        left_out: dict[str, str] | None = None,
    ) -> tuple[dict[str, list[Measured]], dict[str, Outcome]]:
        self.workers.warm(contestants)
        measured: dict[str, list[Measured]] = {c.name: [] for c in contestants}
        outcomes: dict[str, Outcome] = {}
        culprits = dict(left_out or {})
        for p, worker in enumerate(self.workers.all):
            there = tuple(c for c in contestants if c.name not in culprits)
            try:
                found, kept = self.workers.measure(worker, there, device, job, self.plan.budget, p)
            except WorkerLost:
                culprits |= self.culprits.fallen(there, device, job, p)
                there = tuple(c for c in there if c.name not in culprits)
                found, kept = self._without(worker, there, device, job, p)
            found |= {name: Measured(error=why) for name, why in culprits.items()}
            for name, one in found.items():
                measured[name].append(one)
                self.workers.throttled_by |= {*one.reasons}
            for name, outcome in kept.items():  # each process's has the same chance
                if name not in outcomes or self.rng.random() < 1 / (p + 1):
                    outcomes[name] = outcome
            tell((p + 1) / (len(self.workers.all) + 1))  # shorter sequences are left
        if not left_out:
            self.culprits.note(contestants, culprits)
        return measured, outcomes

    def _told(
        self,
        contestants: Iterable[Contestant],
        device: str,
        job: Job,
        measured: dict[str, list[Measured]],
        outcomes: dict[str, Outcome],
    ) -> dict[str, Told]:
        return {
            c.name: self._verdict(c, job, device, measured[c.name], outcomes.get(c.name))
            for c in contestants
        }

    def _without(
        self, worker: Worker, there: tuple[Contestant, ...], device: str, job: Job, seed: int
    ) -> tuple[dict[str, Measured], dict[str, Outcome]]:
        """Measure again those that are left; if the process is lost again, nobody has times."""
        try:
            return self.workers.measure(worker, there, device, job, self.plan.budget, seed)
        except WorkerLost as lost:
            error = Measured(error=f"the shared process {lost}")
            return {one.name: error for one in there}, {}

    def _steps(
        self, contestants: tuple[Contestant, ...], device: str, job: Job
    ) -> dict[str, list[tuple[int, float]]]:
        """Time shorter sequences, in one process: fewer rounds do for a line."""
        points: dict[str, list[tuple[int, float]]] = {c.name: [] for c in contestants}
        if job.mode != FORWARD or job.case.T < STEPS_FROM:
            return points
        for share in STEPS:
            T = round(job.case.T * share)
            shorter = Job(job.case.replace(T=T), job.mode)
            budget = self.plan.budget * STEPS_BUDGET
            try:
                worker = self.workers.all[0]
                found, _ = self.workers.measure(worker, contestants, device, shorter, budget, 0)
            except WorkerLost:
                return points
            for name, one in found.items():
                if one.seconds:
                    points[name].append((T, float(np.median(one.seconds))))
        return points

    def _judged(
        self,
        contestants: Iterable[Contestant],
        baseline: Contestant,
        device: str,
        job: Job,
        measured: dict[str, list[Measured]],
        told: dict[str, Told],
        points: dict[str, list[tuple[int, float]]],
    ) -> list[Timing]:
        of_baseline = measured[baseline.name] if told[baseline.name][0] == Verdict.PASS else None
        timings = []
        for contestant in contestants:
            name, (verdict, reason) = contestant.name, told[contestant.name]
            timing = self._timing(contestant, device, job, verdict, reason)
            if verdict == Verdict.PASS:
                timing = with_times(timing, measured[name], of_baseline, points.get(name, []))
                if of_baseline is not None:
                    timing = msgspec.structs.replace(timing, baseline=baseline.name)
            timings.append(timing)
        return timings

    def _verdict(
        self,
        contestant: Contestant,
        job: Job,
        device: str,
        measured: list[Measured],
        outcome: Outcome | None,
    ) -> tuple[Verdict, str]:
        """Return the verdict on what was timed, and why."""
        errors = [one.error for one in measured if one.error]
        asked = self.settings.threads
        most = {n: count for n, count in self.workers.threads.items() if count > asked}
        if most:
            return Verdict.ERROR, f"shared process: {'; '.join(machine.other_threads(most, asked))}"
        if errors:
            return Verdict.ERROR, f"while timed: {errors[0]}"
        if contestant.role in (BOUND, CONTROL):
            return Verdict.PASS, ""
        assert outcome is not None
        judgement = judge(job.case, outcome, self._reference(job.case))
        if not judgement.verdict.is_right:
            return judgement.verdict, f"while timed: {judgement.reason}"
        if contestant.role != IMPLEMENTATION or is_baseline(contestant.spec):
            return Verdict.PASS, ""  # torch.nn.RNN keeps no results, and its threads are counted
        if not suspicion(measured, asked, device):
            return Verdict.PASS, ""
        again = self._second_look(contestant, job, device)
        errors = [one.error for one in again if one.error]
        if errors:
            return Verdict.ERROR, f"while timed again: {errors[0]}"
        reason = suspicion(again, asked, device)
        return (Verdict.FAIL, reason) if reason else (Verdict.PASS, "")

    def _second_look(self, contestant: Contestant, job: Job, device: str) -> list[Measured]:
        """Measure one alone, later, in new processes: those before have seen all inputs."""
        looks = []
        for p in range(max(LOOKS, self.plan.processes)):
            worker = self.workers.another()
            try:
                budget, fresh_every = self.plan.budget, 1
                found, _ = self.workers.measure(
                    worker, (contestant,), device, job, budget, p, fresh_every
                )
                looks.append(found[contestant.name])
            except WorkerLost as lost:
                looks.append(Measured(error=f"the process {lost}"))
            finally:
                worker.close()
        return looks

    def _reference(self, case: Case) -> Reference:
        if case not in self.references:
            self.references[case] = reference(case, self.settings)
        return self.references[case]

    def _timing(
        self, contestant: Contestant, device: str, job: Job, verdict: Verdict, reason: str
    ) -> Timing:
        framework = self.frameworks.get(contestant.spec.name, "")
        if contestant.role == BOUND:
            framework = contestant.name.partition(" ")[0]
        one = without_times(contestant.name, framework, device, job, verdict, reason)
        return msgspec.structs.replace(one, role=contestant.role, threads=self.settings.threads)


def without_times(
    name: str, framework: str, device: str, job: Job, verdict: Verdict, reason: str
) -> Timing:
    """Return a timing that says what it is of, and what came of it, and has no times."""
    return Timing(
        implementation=name,
        framework=framework,
        device=device,
        dtype=job.case.dtype,
        case=job.case.id,
        mode=job.mode,
        verdict=verdict,
        reason=reason,
        flop=floating_point_operations(job.case),
        bytes=compulsory_bytes(job.case),
        definition=job.case,
    )
