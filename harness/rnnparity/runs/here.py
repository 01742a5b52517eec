"""Driving the checks of a plan on this machine.

A thread drives a worker process of an implementation through the cases, or through a part of them
if they are many; judging happens here, against a reference that is computed once per case.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from rnnparity.implementations.registry import BASELINE, Spec, registered
from rnnparity.judging.reference import Reference, reference
from rnnparity.judging.verdict import Judgement
from rnnparity.problems.cases import Case
from rnnparity.records.environment import usable_cores
from rnnparity.runs.baseline import Baseline
from rnnparity.runs.examiner import Examiner
from rnnparity.runs.keeping import Event, Keeper
from rnnparity.runs.one_check import Check, chosen_devices, record_of
from rnnparity.runs.plan import Plan
from rnnparity.runs.processes import Start, finish
from rnnparity.runs.shared import Shared
from rnnparity.runs.work import Description
from rnnparity.verdicts import Verdict

# Bytes of references that are kept for implementations that come later: those of all of `full`'s
# small cases, and of a few of the largest, which take about 100 MB each.
KEPT = 1e9

# Cases that one worker goes through. More are parted, so that two cores share the slowest
# implementation, whose compilations may take longer than all the rest.
PART = 300


def check_all(
    plan: Plan, start: Start, references: dict[Case, Reference] | None, keeper: Keeper
) -> None:
    """Check all of a plan on this machine.

    Args:
        plan: which, on what, where and how.
        start: makes the executors that run implementations.
        references: gets those of the cases of which a sample is judged, if they are to be timed.
        keeper: gets the records.
    """
    session = _Session(plan, keeper, start)
    session.run()
    if references is not None:
        for case, future in session.references.made.items():
            if case.judged is not None and future.done() and future.exception() is None:
                references[case] = future.result()


class _Session:
    """What the threads of one run share."""

    def __init__(self, plan: Plan, keeper: Keeper, start: Start) -> None:
        """Start nothing yet."""
        self.plan, self.keeper, self.start = plan, keeper, start
        self.settings = plan.settings
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.examiners: list[Examiner] = []
        self.described: dict[str, Verdict | None] = {}
        self.references: Shared[Case, Reference]
        self.baseline: Baseline

    def run(self) -> None:
        """Drive all implementations, as many at once as there are cores for."""
        specs = self.plan.specs
        self.references = Shared(
            partial(reference, settings=self.settings),
            _size,
            users=len(specs),
            most=KEPT,
            hold=lambda case: bool(self.plan.jobs) and case.judged is not None,
        )
        self.baseline = Baseline(len(specs))
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
        finally:
            self.stopping.set()
            self.baseline.finish()
            pool.shutdown(wait=False, cancel_futures=True)
            for examiner in self.examiners:
                examiner.stop()
            pool.shutdown(wait=True)

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
                    found = self.keeper.run.environment
                    if spec.python:
                        of_it = found["interpreters"][spec.name]
                        of_it["framework"] = description.versions
                        of_it["packages"] |= description.packages
                    else:
                        found["frameworks"][description.framework] = description.versions
            if description.verdict:
                if first or before is None:
                    judgement = Judgement(description.verdict, description.reason, {})
                    self.keeper.keep(record_of(spec, description, "", None, judgement))
                return
            devices = self._devices(spec, description, told=not first)
            if first:
                self.keeper.emit(Event(spec.name, planned=len(devices) * len(own)))
            for i, device in enumerate(devices):
                for case in self._check_all(examiner, description, device, cases):
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
        log = self.keeper.run.directory / f"worker-{_file_name(name)}.log"
        examiner = Examiner(spec, self.settings, log, self.plan.timeout, self.start)
        self.examiners.append(examiner)
        return examiner

    def _devices(self, spec: Spec, description: Description, told: bool) -> list[str]:
        """Return the devices to check on; what is not here is recorded, if it is not told yet."""
        chosen, missing = chosen_devices(self.plan.devices, description.devices)
        for wanted, reason in missing.items() if not told else ():
            judgement = Judgement(Verdict.ABSENT, reason, {})
            self.keeper.keep(record_of(spec, description, wanted, None, judgement))
        return chosen

    def _check_all(
        self, examiner: Examiner, description: Description, device: str, cases: Iterable[Case]
    ) -> Iterator[Case]:
        """Check cases on a device, and yield each when it is done with."""
        name, check = examiner.spec.name, Check(examiner, description, device)
        for case in cases:
            if self.stopping.is_set():
                return
            earlier = self.keeper.done.get((name, device, case))
            if earlier is not None:
                self.keeper.emit(Event(name, record=earlier, earlier=True))
            else:
                record = check.record(case, self.references.get, self.baseline.get)
                if self.stopping.is_set():
                    return
                self.keeper.keep(record)
            yield case


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
