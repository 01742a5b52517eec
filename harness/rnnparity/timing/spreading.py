"""A timing run whose jobs are spread over a Dask cluster, each whole on one of its machines.

What is compared is timed together, by the same code as on one machine. A machine has one job at a
time and nothing else of the run, however many workers it has.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from rnnparity.errors import UsageError, one_line
from rnnparity.implementations.registry import Spec, is_baseline
from rnnparity.problems.sizes import Job
from rnnparity.records import files, pyperf_format
from rnnparity.records.check import Record
from rnnparity.records.run import Run
from rnnparity.records.timing import IMPLEMENTATION, Timing
from rnnparity.runs import answers
from rnnparity.runs.cluster.calls import COME_WITHIN, LOSSES, Cluster, SchedulerGone
from rnnparity.runs.cluster.connecting import connected
from rnnparity.runs.plan import Plan
from rnnparity.runs.processes import WorkerLost
from rnnparity.timing import on_worker
from rnnparity.timing.bench import Stage, jobs_left, words
from rnnparity.timing.on_worker import Task, Timed
from rnnparity.timing.session import without_times
from rnnparity.verdicts import Verdict


def bench(run: Run, plan: Plan, progress: Callable[[Stage], None] = lambda stage: None) -> None:
    """Time what passed on the plan's cluster, and add timings to the run and to its folder.

    Args:
        run: with the verdicts on the cases of the jobs; gets the timings.
        plan: what may be timed, on which jobs and how often.
        progress: called for every job.

    Raises:
        UsageError: there is no scheduler, none of its workers can be used, or it is gone; what was
            recorded till then is kept.
    """
    todo = jobs_left(run, plan)
    if not todo:
        return
    recorder = files.Recorder(run.directory, files.TIMINGS)
    try:
        with connected(*plan.for_cluster) as cluster:
            _Timing(run, plan, cluster, recorder, progress, todo).run()
    except KeyboardInterrupt:
        run.interrupted = True
    except SchedulerGone as gone:
        left = len({(d, job) for d, job in todo} - {(t.device, _job(t)) for t in run.timings})
        raise UsageError(
            f"{gone}; {len(todo) - left} of {len(todo)} jobs are recorded: give --resume and --out "
            f"{run.directory}"
        ) from None
    finally:
        recorder.close()
        run.write_environment()
        pyperf_format.write(run)


def _job(one: Timing) -> Job | None:
    return None if one.definition is None else Job(one.definition, one.mode)


@dataclass
class _Left:
    """A job that is to be timed, and how many workers were lost with it."""

    device: str
    job: Job
    records: tuple[Record, ...]
    losses: int = 0
    specs: tuple[Spec, ...] = ()  # who takes part where it is timed

    @property
    def right(self) -> list[str]:
        """Whose times are wanted."""
        return [r.implementation for r in self.records if r.verdict.is_right]


class _Timing:
    """The jobs that are left, and which machine is at which."""

    def __init__(
        self,
        run: Run,
        plan: Plan,
        cluster: Cluster,
        recorder: files.Recorder,
        progress: Callable[[Stage], None],
        todo: list[tuple[str, Job]],
    ) -> None:
        self.made, self.plan, self.cluster = run, plan, cluster
        self.recorder, self.progress = recorder, progress
        self.total, self.done = len(todo), 0
        self.busy: set[str] = set()  # machines
        self.measured: dict[str, Any] = {}  # by label, the best that a machine does
        self.left = [_Left(device, job, self._records(device, job)) for device, job in todo]

    def run(self) -> None:
        """Time all of them."""
        stuck = 0.0
        while self.left or self.busy:
            for call, told in self.cluster.answers():
                one, machine = call.note
                self.busy.discard(machine)
                self._receive(one, self.cluster.labels[call.worker], told)
            if not self.cluster.settled:
                continue
            self._dispatch()
            stuck = 0.0 if self.busy else stuck or time.monotonic()
            if stuck and self.left and time.monotonic() > stuck + COME_WITHIN:
                for one in self.left:
                    self._broken(one, "no worker that offers it is left in the cluster")
                self.left = []
        self.progress(Stage(self.total, self.total, ""))
        if len(self.measured) == 1:
            (self.made.environment["best"],) = self.measured.values()

    def _records(self, device: str, job: Job) -> tuple[Record, ...]:
        names = set(self.plan.names)
        return tuple(
            r
            for r in self.made.records
            if (r.device, r.definition) == (device, job.case) and r.implementation in names
        )

    def _hosts(self) -> dict[str, Any]:
        """Return the machines: as they were before the checks, if these were made just now."""
        before = self.made.environment.get("hosts", {})
        return {label: one | before.get(label, {}) for label, one in self.cluster.hosts.items()}

    def _here(self, one: _Left, worker: str) -> set[str]:
        """Return the names of those whose times are wanted that a worker can run."""
        told = self.cluster.offers[worker].descriptions
        return {name for name in one.right if one.device in told[name].devices}

    def _dispatch(self) -> None:
        """Give every machine that is free a job, if none can do it with more of who is in it."""
        for one in [*self.left]:
            value = {worker: self._value(self._here(one, worker)) for worker in self.cluster.offers}
            most = max(value.values(), default=(False, 0))
            if one.right and not most[1]:
                continue
            for worker, offer in self.cluster.offers.items():
                if value[worker] == most and offer.machine not in self.busy:
                    self._give(one, worker, offer.machine)
                    break

    def _value(self, here: set[str]) -> tuple[bool, int]:
        """Return how good a place is for a job: with whom others are compared, then with most."""
        return any(is_baseline(spec) for spec in self.plan.specs if spec.name in here), len(here)

    def _give(self, one: _Left, worker: str, machine: str) -> None:
        self.left.remove(one)
        self.busy.add(machine)
        one.specs = on_worker.specs_here(self.plan.specs, self._here(one, worker), one.records)
        label = self.cluster.labels[worker]
        task = Task(
            device=one.device,
            job=one.job,
            specs=one.specs,
            records=one.records,
            processes=self.plan.processes,
            budget=self.plan.budget,
            best=label not in self.measured,
            load=self._hosts()[label]["load_at_start"],
        )
        self.progress(Stage(self.done, self.total, f"{words(one.job, one.device)} on {label}"))
        self.cluster.call(worker, on_worker.time_job, task, note=(one, machine))

    def _receive(self, one: _Left, host: str, told: Any) -> None:
        if not isinstance(told, WorkerLost):
            trouble = _trouble(one, told)
            if not trouble:
                self._keep(one, answers.in_lines(told), host)
                return
            told = WorkerLost(trouble)
        one.losses += 1
        if one.losses < LOSSES:
            self.left.append(one)
        else:
            self._broken(one, f"{told}, {one.losses} times")

    def _keep(self, one: _Left, told: Timed, host: str) -> None:
        timings = [*told.timings]
        named = {spec.name for spec in one.specs}
        for record in one.records:
            if record.implementation not in named:
                why = f"is not on {host}, which timed this"
                timings.append(self._without(one, record, Verdict.ABSENT, why))
        self._write(one, timings, host)
        environment = self.made.environment
        environment["hosts"] = self._hosts()
        if told.best:
            self.measured[host] = told.best
            environment["hosts"][host]["best"] = told.best
        timing = environment.setdefault("timing", {})
        timing |= {"processes": self.plan.processes, "budget_seconds": self.plan.budget}
        now, before = told.threads, timing.get("threads", {})
        timing["threads"] = {n: max(now.get(n, 0), before.get(n, 0)) for n in now | before}
        warnings = [one_line(f"{host}: {line}") for line in told.warnings]
        timing["warnings"] = [*dict.fromkeys([*timing.get("warnings", []), *warnings])]

    def _broken(self, one: _Left, why: str) -> None:
        timings = [
            self._without(
                one, r, *(Verdict.ERROR, why) if r.verdict.is_right else (r.verdict, r.reason)
            )
            for r in one.records
        ]
        self._write(one, timings, "")

    def _without(self, one: _Left, record: Record, verdict: Verdict, why: str) -> Timing:
        return msgspec.structs.replace(
            without_times(
                record.implementation, record.framework, one.device, one.job, verdict, why
            ),
            threads=self.plan.settings.threads,
        )

    def _write(self, one: _Left, timings: list[Timing], host: str) -> None:
        self.done += 1
        for timing in timings:
            timing = msgspec.structs.replace(timing, definition=one.job.case, host=host)
            self.recorder.write(timing)
            self.made.timings.append(timing)
        self.progress(Stage(self.done, self.total, words(one.job, one.device)))


def _trouble(one: _Left, told: Timed) -> str:
    """Say what is wrong with the form of an answer; "" if nothing is."""
    named = {spec.name for spec in one.specs} & {r.implementation for r in one.records}
    given = [t.implementation for t in told.timings if t.role == IMPLEMENTATION]
    if sorted(given) != sorted(named):
        return f"its worker returned timings of {len(given)}, expected {len(named)}"
    expected = one.device, one.job.case.id, one.job.mode
    if any((t.device, t.case, t.mode) != expected for t in told.timings):
        return "its worker returned timings of another job"
    if any(not len(t.seconds) == len(t.calls) == len(t.first_call) for t in told.timings):
        return "its worker returned times of some processes only"
    return ""
