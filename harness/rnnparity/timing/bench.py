"""A timing run: what passed takes turns in shared processes; what was timed is judged; records."""

import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.registry import Spec, is_baseline
from rnnparity.judging.reference import Reference, reference
from rnnparity.judging.verdict import judge
from rnnparity.problems.cases import Case
from rnnparity.problems.sizes import FORWARD, Job, compulsory_bytes, floating_point_operations
from rnnparity.records import files, pyperf_format
from rnnparity.records.environment import usable_cores
from rnnparity.records.run import Run
from rnnparity.records.timing import AGAIN, BOUND, IMPLEMENTATION, Timing
from rnnparity.runs import answers
from rnnparity.runs.plan import Plan
from rnnparity.runs.processes import Worker, WorkerLost, finish
from rnnparity.timing import machine, statistics, turns
from rnnparity.timing.contestants import Contestant
from rnnparity.timing.turns import Measured
from rnnparity.verdicts import Verdict

# The share of a job's budget for each shorter sequence, and the lengths, as shares of T.
STEPS_BUDGET, STEPS, STEPS_FROM = 0.3, (0.25, 0.5), 8

# Matrix products alone are timed from this hidden size on; below, it is calls that take the time.
BOUND_FROM = 256

# Inputs seen before may lie in a cache: so many times as fast, surely, and the results were kept.
# And so many cores more than threads were asked for are not noise.
SEEN_FASTER, EXTRA_CORES = 2.0, 0.5

# What speaks against an implementation is looked at once more, in so many new processes at least.
LOOKS = 3


@dataclass(frozen=True)
class Stage:
    """Where a timing run is: `done` of `total` jobs, and a `share` of the next one, `what`."""

    done: int
    total: int
    what: str
    share: float = 0.0


def bench(
    run: Run,
    plan: Plan,
    references: dict[Case, Reference],
    watch: machine.Watch | None = None,
    progress: Callable[[Stage], None] = lambda stage: None,
) -> None:
    """Time what passed, and add timings to the run and to its folder.

    Args:
        run: with the verdicts on the cases of the jobs; gets the timings.
        plan: what may be timed, the baseline with it, on which jobs and how often.
        references: of the cases, as far as they are at hand.
        watch: of the machine since before the checks, if they were made just now.
        progress: called for every job and process.
    """
    settings, jobs = plan.settings, plan.jobs
    watch = watch or machine.Watch(settings.threads)
    # A job is kept if all that is to be timed took part in it: they are compared within a job.
    names = set(plan.names)
    wanted = {
        (r.definition, r.device, r.implementation) for r in run.records if r.implementation in names
    }
    run.timings += files.keep_timed(run.directory, wanted)
    done = {(one.definition, one.mode, one.device) for one in run.timings}
    devices = dict.fromkeys(r.device for r in run.records if r.definition is not None)
    todo = [(d, job) for d in devices for job in jobs if (job.case, job.mode, d) not in done]
    recorder = files.Recorder(run.directory, files.TIMINGS)
    processes = _Processes(plan, run.directory)
    try:
        with processes:
            session = _Session(run, plan, references, processes)
            for i, (device, job) in enumerate(todo):

                def tell(share: float, i: int = i, what: str = _words(job, device)) -> None:
                    progress(Stage(i, len(todo), what, share))

                tell(0.0)
                for timing in session.time(device, job, tell):
                    recorder.write(timing)
                    run.timings.append(timing)
            progress(Stage(len(todo), len(todo), ""))
            if processes.imported:
                run.environment["best"] = processes.best(sorted(_frameworks(run)))
    except KeyboardInterrupt:
        run.interrupted = True
    finally:
        recorder.close()
        if todo:
            threads = processes.threads
            warnings = watch.warnings() + machine.other_threads(threads, settings.threads)
            warnings += machine.throttled(run.timings, processes.throttled_by)
            warnings += machine.older_kernels(
                run.environment["frameworks"].get("numpy", {}).get("blas", "")
            )
            earlier = (run.environment.get("timing") or {}).get("warnings", [])
            run.environment["timing"] = {
                "processes": plan.processes,
                "budget_seconds": plan.budget,
                "threads": threads,
                "warnings": [*dict.fromkeys([*earlier, *warnings])],
            }
        run.write_environment()
        pyperf_format.write(run)


def _words(job: Job, device: str) -> str:
    case = job.case
    I, H = case.config.input_size, case.config.hidden_size
    return f"T={case.T} B={case.B} I={I} H={H} {case.dtype} {job.mode} on {device}"


def _frameworks(run: Run) -> set[str]:
    return {one.framework for one in run.timings if one.framework and one.seconds}


class _Processes:
    """The worker processes of a run, which wait while another one measures."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        self._settings, self._plan, self._directory = plan.settings, plan, directory
        self.imported: set[Spec] = set()
        self.threads: dict[str, int] = {}  # that libraries say they use, by library: the largest
        self.throttled_by: set[str] = set()  # what held a card's clock down
        self._stack = ExitStack()
        self.workers: list[Worker] = []

    def __enter__(self) -> "_Processes":
        for _ in range(self._plan.processes):
            worker = Worker(self._settings, self._directory / "worker-timing.log")
            self._stack.callback(worker.close)
            self.workers.append(worker)
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
                finish([pool.submit(begin, worker) for worker in self.workers])
            except BaseException:  # Ctrl-C: the pool waits for its threads, and they for these
                self._stack.close()
                raise

    def another(self) -> Worker:
        """Return a worker beside them, to be closed by who asks for it."""
        worker = Worker(self._settings, self._directory / "worker-timing.log")
        self._stack.callback(worker.close)  # should Ctrl-C come first
        return worker

    def best(self, frameworks: list[str]) -> dict[str, Any]:
        try:
            arguments = tuple(frameworks), self._settings
            return {**self.workers[0].call(self._plan.timeout, machine.best, *arguments)}
        except WorkerLost as lost:
            return {"error": f"the process {lost}"}


class _Session:
    def __init__(
        self, run: Run, plan: Plan, references: dict[Case, Reference], processes: _Processes
    ) -> None:
        self.run, self.plan, self.references, self.processes = run, plan, references, processes
        self.specs, self.settings = plan.specs, plan.settings
        self.rng = random.Random(0)
        self.frameworks = {r.implementation: r.framework for r in run.records}

    def time(self, device: str, job: Job, tell: Callable[[float], None]) -> list[Timing]:
        """Return the timings of one job: of what passed; the others' say why there are none.

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
            elif job.mode != FORWARD and "grad_x" not in record.quantities:
                told = Verdict.UNSUPPORTED, "declares no gradients"
                timings.append(self._timing(one, device, job, *told))
            else:
                passed.append(one)
        if not passed:
            return timings
        baseline = next((c for c in passed if is_baseline(c.spec)), passed[0])
        contestants = [*passed, Contestant(f"{baseline.name} again", baseline.spec, AGAIN)]
        contestants += self._bounds(passed, job, device)
        measured, outcomes = self._measure(tuple(contestants), device, job, tell)
        points = self._steps(tuple(passed), device, job)
        timings += self._judged(contestants, baseline, device, job, measured, outcomes, points)
        return timings

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
    ) -> tuple[dict[str, list[Measured]], dict[str, Outcome]]:
        self.processes.warm(contestants)
        measured: dict[str, list[Measured]] = {c.name: [] for c in contestants}
        outcomes: dict[str, Outcome] = {}
        for p, worker in enumerate(self.processes.workers):
            try:
                found, kept = self._turns(worker, contestants, device, job, self.plan.budget, p)
            except WorkerLost as lost:
                found = dict.fromkeys(measured, Measured(error=f"the shared process {lost}"))
                kept = {}
            for name, one in found.items():
                measured[name].append(one)
                self.processes.throttled_by |= {*one.reasons}
            for name, outcome in kept.items():  # each process's has the same chance
                if name not in outcomes or self.rng.random() < 1 / (p + 1):
                    outcomes[name] = outcome
            tell((p + 1) / (len(self.processes.workers) + 1))  # shorter sequences are left
        return measured, outcomes

    def _turns(
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
            self.plan.timeout * len(contestants),
            turns.measure,
            *(contestants, self.settings, job, device, budget, seed, fresh_every),
        )
        timed = {name: len(one.seconds) for name, one in found.items() if not one.error}
        whole = found.keys() == {c.name for c in contestants} and timed.keys() <= kept.keys()
        if not whole or len({*timed.values()}) > 1:
            raise WorkerLost(f"returned rounds of {timed}, expected as many of each")
        return found, {name: answers.checked(kept[name], job.case) for name in timed}

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
                worker = self.processes.workers[0]
                found, _ = self._turns(worker, contestants, device, shorter, budget, 0)
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
        outcomes: dict[str, Outcome],
        points: dict[str, list[tuple[int, float]]],
    ) -> list[Timing]:
        told = {
            c.name: self._verdict(c, job, device, measured[c.name], outcomes.get(c.name))
            for c in contestants
        }
        of_baseline = measured[baseline.name] if told[baseline.name][0] == Verdict.PASS else None
        timings = []
        for contestant in contestants:
            name, (verdict, reason) = contestant.name, told[contestant.name]
            timing = self._timing(contestant, device, job, verdict, reason)
            if verdict == Verdict.PASS:
                timing = _with_times(timing, measured[name], of_baseline, points.get(name, []))
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
        most = {n: count for n, count in self.processes.threads.items() if count > asked}
        if most:
            return Verdict.ERROR, f"shared process: {'; '.join(machine.other_threads(most, asked))}"
        if errors:
            return Verdict.ERROR, f"while timed: {errors[0]}"
        if contestant.role == BOUND:
            return Verdict.PASS, ""
        assert outcome is not None
        judgement = judge(job.case, outcome, self._reference(job.case))
        if not judgement.verdict.is_right:
            return judgement.verdict, f"while timed: {judgement.reason}"
        if contestant.role != IMPLEMENTATION or is_baseline(contestant.spec):
            return Verdict.PASS, ""  # torch.nn.RNN keeps nothing, and its threads are read back
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
            worker = self.processes.another()
            try:
                budget, fresh_every = self.plan.budget, 1
                found, _ = self._turns(worker, (contestant,), device, job, budget, p, fresh_every)
                looks.append(found[contestant.name])
            except WorkerLost as lost:
                looks.append(Measured(error=f"the process {lost}"))
            finally:
                worker.close()
        return looks

    def _reference(self, case: Any) -> Reference:
        if case not in self.references:
            self.references[case] = reference(case, self.settings)
        return self.references[case]

    def _timing(
        self, contestant: Contestant, device: str, job: Job, verdict: Verdict, reason: str
    ) -> Timing:
        framework = self.frameworks.get(contestant.spec.name, "")
        if contestant.role == BOUND:
            framework = contestant.name.partition(" ")[0]
        return Timing(
            implementation=contestant.name,
            framework=framework,
            device=device,
            dtype=job.case.dtype,
            case=job.case.id,
            mode=job.mode,
            verdict=verdict,
            reason=reason,
            role=contestant.role,
            threads=self.settings.threads,
            flop=floating_point_operations(job.case),
            bytes=compulsory_bytes(job.case),
            definition=job.case,
        )


def suspicion(measured: list[Measured], threads: int, device: str = "cpu") -> str:
    """Return why times are not what they seem, or "" if nothing speaks against them for sure."""
    seen = statistics.ratio([m.fresh for m in measured], [m.seen for m in measured])
    if seen.low > SEEN_FASTER:
        faster = f"calls on inputs seen before are {seen.value:.3g} times as fast"
        between = f"({seen.low:.3g} to {seen.high:.3g})"
        return f"{faster} {between}: results are kept, and not computed"
    cores = _busy_cores(measured)
    # Where every core may be used, more of them can only be what a host has taken away and counted.
    # A card's driver may poll with any number of them.
    may_tell = device == "cpu" and usable_cores() > threads
    if may_tell and cores.low > threads + EXTRA_CORES:
        between = f"({cores.low:.1f} to {cores.high:.1f})"
        return f"kept {cores.value:.1f} {between} cores busy, {threads} were asked for"
    return ""


def _with_times(
    timing: Timing,
    measured: list[Measured],
    baseline: list[Measured] | None,
    points: list[tuple[int, float]],
) -> Timing:
    """Return a timing with what comes from its samples."""
    seconds = tuple(one.seconds for one in measured)
    median, T = statistics.median(seconds), timing.definition.T if timing.definition else 0
    of = None if baseline is None else statistics.ratio([one.seconds for one in baseline], seconds)
    seen = statistics.ratio([one.fresh for one in measured], [one.seen for one in measured])
    clocks = [clock for one in measured for clock in one.clock]
    steps = (*points, (T, median)) if points else ()
    line = statistics.line(steps) if steps else None
    return msgspec.structs.replace(
        timing,
        seconds=seconds,
        calls=tuple(one.calls for one in measured),
        median=median,
        ratio=of and of.value,
        ratio_low=of and of.low,
        ratio_high=of and of.high,
        first_call=tuple(one.first_call for one in measured),
        prepare=tuple(one.prepare for one in measured),
        seen_faster=seen.value,
        with_transfer=_median_of(one.transfer for one in measured),
        on_device=_median_of(one.on_device for one in measured),
        handing_over=_median_of(one.handing_over for one in measured),
        clock=(min(clocks), max(clocks)) if clocks else None,
        throttled=sum(one.throttled for one in measured),
        cores=_busy_cores(measured).value,
        peak_memory=max(
            (one.peak_memory for one in measured if one.peak_memory is not None), default=None
        ),
        steps=steps,
        fixed=line and line.fixed,
        per_step=line and line.per_step,
    )


def _median_of(samples: Iterable[tuple[float, ...]]) -> float | None:
    """Return the median over all processes; None if none has any."""
    every = [value for one in samples for value in one]
    return float(np.median(every)) if every else None


def _busy_cores(measured: list[Measured]) -> statistics.Ratio:
    """Return CPU time over wall time: of all blocks, since CPU time is counted in coarse ticks."""
    seconds = [one.calls * np.asarray(one.seconds) for one in measured]
    cpu = [s * np.asarray(one.cores) for s, one in zip(seconds, measured, strict=True)]
    return statistics.quotient([c.tolist() for c in cpu], [s.tolist() for s in seconds])
