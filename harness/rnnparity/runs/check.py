"""Carrying out the checks of a plan: every implementation, case and device, as records.

A thread drives a worker process of an implementation through the cases, or through a part of them
if they are many; judging happens here, against a reference that is computed once per case.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from rnnparity.errors import UsageError
from rnnparity.implementations.registry import BASELINE, Spec, registered
from rnnparity.implementations.settings import MATMUL_PRECISIONS
from rnnparity.judging.assess import assess
from rnnparity.judging.reference import Reference, reference
from rnnparity.judging.verdict import Judgement
from rnnparity.problems.cases import Case
from rnnparity.records import files
from rnnparity.records.check import Record
from rnnparity.records.environment import environment, usable_cores
from rnnparity.records.run import Run
from rnnparity.runs.baseline import Baseline
from rnnparity.runs.examiner import Examiner, as_record_fields
from rnnparity.runs.expected import KEPT_LINES, as_expected, outdated, told, unmatched
from rnnparity.runs.plan import Plan
from rnnparity.runs.processes import Start, finish, fresh_process
from rnnparity.runs.resuming import earlier_records, identity
from rnnparity.runs.shared import Shared
from rnnparity.runs.work import Description
from rnnparity.verdicts import Verdict

Progress = Callable[["Event"], None]

# Bytes of references that are kept for implementations that come later: those of all of `full`'s
# small cases, and of a few of the largest, which take about 100 MB each.
KEPT = 1e9

# Cases that one worker goes through. More are parted, so that two cores share the slowest
# implementation, whose compilations may take longer than all the rest.
PART = 300


@dataclass(frozen=True)
class Event:
    """Something to show of a check.

    Attributes:
        announced: the implementations that will be checked: the first event of a run.
        notes: with it, what of a resumed run no longer counts.
        implementation: whose check it is, of every other event.
        planned: how many checks it will have.
        record: one that was made.
        earlier: whether the record is one of a resumed run.
    """

    implementation: str = ""
    announced: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    planned: int | None = None
    record: Record | None = None
    earlier: bool = False


def check(
    plan: Plan,
    progress: Progress = lambda event: None,
    references: dict[Case, Reference] | None = None,
    start: Start = fresh_process,
) -> Run:
    """Check implementations on cases and write the records as they are made.

    Args:
        plan: which, on what, where and how.
        progress: called with every event, from several threads, one at a time.
        references: gets those of the cases of which a sample is judged, if they are to be timed.
        start: makes the executors that run implementations: by default fresh processes, one each.

    Raises:
        UsageError: the folder cannot be used, or holds another run.
    """
    directory = plan.directory
    described = environment(plan.settings) | {
        "preset": plan.preset,
        "implementations": {s.name: identity(s) for s in plan.specs},
    }
    if plan.assumed:
        described["assumed"] = list(plan.assumed)
    if lines := told(plan.expected):
        described[KEPT_LINES] = lines
    notes: list[str] = []
    earlier = earlier_records(plan, described, notes)
    recorder = files.Recorder(directory)
    run = Run(directory, described, earlier, notes=notes)
    session = _Session(plan, run, progress, recorder, start)
    session.run()
    if references is not None:
        for case, future in session.references.made.items():
            if case.judged is not None and future.done() and future.exception() is None:
                references[case] = future.result()
    return run


class _Session:
    """What the threads of one run share."""

    def __init__(
        self, plan: Plan, run: Run, progress: Progress, recorder: files.Recorder, start: Start
    ) -> None:
        self.plan, self.made, self.progress, self.recorder = plan, run, progress, recorder
        self.settings, self.start = plan.settings, start
        self.done = {(r.implementation, r.device, r.definition): r for r in run.records}
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.examiners: list[Examiner] = []
        self.described: dict[str, Verdict | None] = {}
        self.references: Shared[Case, Reference]
        self.baseline: Baseline

    def run(self) -> None:
        """Drive all implementations, as many at once as there are cores for."""
        specs = self.plan.specs
        self._emit(Event(announced=tuple(self.plan.names), notes=tuple(self.made.notes)))
        self.references = Shared(
            partial(reference, settings=self.settings),
            _size,
            users=len(specs),
            most=KEPT,
            hold=lambda case: bool(self.plan.jobs) and case.judged is not None,
        )
        self.baseline = Baseline(len(specs))
        self.made.write_environment()
        jobs = max(1, usable_cores() // self.settings.threads)
        pool = ThreadPoolExecutor(jobs)
        try:
            futures = [pool.submit(self._drive_baseline)]
            futures += [
                pool.submit(self._drive, spec, part)
                for spec in _last(specs)
                for part in range(len(_parts(self.plan.cases_of(spec))))
            ]
            finish(futures)
        except KeyboardInterrupt:
            self.made.interrupted = True
        finally:
            self.stopping.set()
            self.baseline.finish()
            pool.shutdown(wait=False, cancel_futures=True)
            for examiner in self.examiners:
                examiner.stop()
            pool.shutdown(wait=True)
            late = outdated(self.plan.expected, self.made.records)
            nothing = unmatched(self.plan.expected, self.made.records)
            if nothing:
                self.made.environment["unmatched"] = [one.pattern for one in nothing]
            if late:
                self.made.environment["outdated"] = [
                    one.pattern for one in late if not one.of_peers
                ]
            self.recorder.close()
            self.made.write_environment()

    def _drive_baseline(self) -> None:
        """Run torch's own of every kind on the CPU, for the others to be compared with."""
        try:
            for kind in dict.fromkeys(spec.kind for spec in self.plan.specs):
                if BASELINE in registered(kind):
                    self._run_baseline(registered(kind)[BASELINE])
        finally:
            self.baseline.finish()

    def _run_baseline(self, spec: Spec) -> None:
        examiner = self._examination(spec, f"baseline-{spec.kind}")
        try:
            if "cpu" not in examiner.describe().devices:
                return
            for case in self.plan.cases_of(spec):
                if self.stopping.is_set():
                    return
                plain = case.replace(invariants=False)
                self.baseline.put(case, examiner.outcome(plain, "cpu"))
        finally:
            examiner.stop()

    def _drive(self, spec: Spec, part: int) -> None:
        """Check an implementation on a part of its cases; the first part tells what it is."""
        own = self.plan.cases_of(spec)
        cases = _parts(own)[part]
        examiner = self._examination(spec, f"{spec.name}-{part + 1}" if part else spec.name)
        remaining = dict.fromkeys(cases)
        if part == 0:
            self._pass(dict.fromkeys(self.plan.all_cases).keys() - set(own))
        try:
            description = examiner.describe()
            if self.stopping.is_set():
                return
            with self.lock:
                first = spec.name not in self.described
                before = self.described.setdefault(spec.name, description.verdict)
                if description.versions:
                    frameworks = self.made.environment["frameworks"]
                    frameworks[description.framework] = description.versions
            if description.verdict:
                if first or before is None:
                    judgement = Judgement(description.verdict, description.reason, {})
                    self._record(spec, description, "", None, judgement)
                return
            devices = self._devices(spec, description, told=not first)
            if first:
                self._emit(Event(spec.name, planned=len(devices) * len(own)))
            for i, device in enumerate(devices):
                for case in self._check_all(spec, description, examiner, device, cases):
                    if i == len(devices) - 1:
                        del remaining[case]
                        self._pass([case])
        finally:
            self._pass(remaining)
            examiner.stop()

    def _pass(self, cases: Iterable[Case]) -> None:
        """Note that one implementation needs nothing more of these cases."""
        self.references.passed(cases)
        self.baseline.passed(cases)

    def _examination(self, spec: Spec, name: str) -> Examiner:
        log = self.made.directory / f"worker-{_file_name(name)}.log"
        examiner = Examiner(spec, self.settings, log, self.plan.timeout, self.start)
        self.examiners.append(examiner)
        return examiner

    def _devices(self, spec: Spec, description: Description, told: bool) -> list[str]:
        """Return the devices to check on; what is not here is recorded, if it is not told yet."""
        here = list(description.devices)
        if self.plan.devices is None and here:
            return here
        chosen = []
        for wanted in self.plan.devices or ["declared"]:
            found = [d for d in here if wanted in (d, d.partition(":")[0])]
            if not found and not told:
                reason = f"no device {wanted} here: there is {', '.join(here) or 'none for it'}"
                self._record(spec, description, wanted, None, Judgement(Verdict.ABSENT, reason, {}))
            chosen += found
        return list(dict.fromkeys(chosen))

    def _check_all(
        self,
        spec: Spec,
        description: Description,
        examiner: Examiner,
        device: str,
        cases: Iterable[Case],
    ) -> Iterator[Case]:
        """Check cases on a device, and yield each when it is done with."""
        precision: str | None = None
        asked = False
        for case in cases:
            if self.stopping.is_set():
                return
            earlier = self.done.get((spec.name, device, case))
            if earlier is not None:
                self._emit(Event(spec.name, record=earlier, earlier=True))
                yield case
                continue
            if case.dtype == "float32" and not asked:
                precision, asked = examiner.matmul_precision(device), True
            try:
                against = self.references.get(case)
            except UsageError as error:
                judgement = Judgement(Verdict.UNSUPPORTED, str(error), {})
                self._record(spec, description, device, case, judgement)
                yield case
                continue
            begun = time.monotonic()
            outcome = examiner.outcome(case, device)
            judgement, names = assess(
                case,
                outcome,
                against,
                partial(examiner.fresh, device=device),
                baseline=self.baseline.get(case),
                refer=partial(reference, settings=self.settings),
                amend=partial(self._canary, case, precision=precision),
            )
            if self.stopping.is_set():
                return
            took = round(time.monotonic() - begun, 6)
            more = {"diagnosis": names, "seconds": took, **as_record_fields(outcome)}
            if case.dtype == "float32":
                more["matmul_precision"] = precision
            self._record(spec, description, device, case, judgement, against, more)
            yield case

    def _canary(self, case: Case, judgement: Judgement, precision: str | None) -> Judgement:
        """Fail a float32 case whose matrix products ran in less than was asked for."""
        wanted = self.settings.matmul_precision
        if case.dtype != "float32" or not judgement.verdict.was_judged:
            return judgement
        finest = MATMUL_PRECISIONS.index
        if precision is None or finest(precision) <= finest(wanted):
            return judgement
        reason = f"matrix products ran in {precision}, not in {wanted}"
        if judgement.reason:
            reason = f"{reason}; {judgement.reason}"
        return Judgement(Verdict.FAIL, reason, judgement.quantities)

    def _record(
        self,
        spec: Spec,
        description: Description,
        device: str,
        case: Case | None,
        judgement: Judgement,
        against: Reference | None = None,
        more: dict[str, Any] | None = None,
    ) -> None:
        rows = None if against is None else len(against.problem.rows)
        record = Record(
            implementation=spec.name,
            framework=description.framework,
            device=device,
            dtype="" if case is None else case.dtype,
            case="" if case is None else case.id,
            verdict=judgement.verdict,
            reason=judgement.reason,
            quantities=judgement.quantities,
            horizon=None if against is None else against.horizon,
            judged_rows=rows if case is not None and rows != (case.B or 1) else None,
            cell=spec.kind,
            definition=case,
            **(more or {}),
        )
        record = as_expected(self.plan.expected, record)
        self.recorder.write(record)
        self._emit(Event(spec.name, record=record))

    def _emit(self, event: Event) -> None:
        with self.lock:
            if event.record is not None and not event.earlier:
                self.made.records.append(event.record)
            self.progress(event)


def _parts(cases: Sequence[Case]) -> list[Sequence[Case]]:
    """Part cases evenly among as many workers as take `PART` each; one, if there are none."""
    count = max(1, -(-len(cases) // PART))
    size = -(-len(cases) // count)
    return [cases[part * size : (part + 1) * size] for part in range(count)]


def _size(against: Reference) -> int:
    """Return how many bytes a reference holds."""
    true = against.true
    arrays = [*true.values.values(), *against.units.values(), *against.problem.weights.values()]
    for trace in (*true.traces, *true.next_traces):
        arrays += [*trace.cell, trace.x, *trace.states, *trace.grad_states, trace.grad_input]
    return sum(array.nbytes for array in arrays)


def _last(specs: Iterable[Spec]) -> list[Spec]:
    """Return the specs with the slow starters first, so that they do not end alone."""
    return sorted(specs, key=lambda spec: "jax" not in spec.target)


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)[-80:]
