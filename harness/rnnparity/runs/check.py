"""A run: every implementation on every case and device, judged and recorded as it goes.

One thread per implementation drives one worker process; judging happens here, against a reference
that is computed once per case.
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from rnnparity.defaults import TIMEOUT
from rnnparity.errors import UsageError
from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.registry import BASELINE, Spec, registered
from rnnparity.implementations.settings import MATMUL_PRECISIONS, Settings
from rnnparity.judging.diagnosis import explain_failure
from rnnparity.judging.reference import Reference, reference
from rnnparity.judging.verdict import Judgement, judge
from rnnparity.problems.cases import Case, full_id
from rnnparity.records import files
from rnnparity.records.check import Record
from rnnparity.records.environment import environment, usable_cores
from rnnparity.records.run import Run
from rnnparity.runs.examiner import Examination, as_record_fields
from rnnparity.runs.processes import finish
from rnnparity.runs.shared import Shared
from rnnparity.runs.work import Description

Progress = Callable[["Event"], None]

# Bytes of references that are kept for implementations that come later: those of all of `full`'s
# small cases, and of a few of the largest, which take about 100 MB each.
KEPT = 1e9

# Of a run's environment, what timing it adds; a resumed run goes on from there.
OF_TIMING = ("best", "timing")


@dataclass(frozen=True)
class Event:
    """Something to show: `planned` checks for an implementation, or one `record`.

    `earlier` says that the record is one of a resumed run.
    """

    implementation: str
    planned: int | None = None
    record: Record | None = None
    earlier: bool = False


def new_directory(preset: str, under: Path = Path("results")) -> Path:
    """Return a folder for a run that does not exist yet: `results/2026-11-22T12-00-00-quick`."""
    name = f"{datetime.now():%Y-%m-%dT%H-%M-%S}-{preset}"
    candidates = (under / (name + suffix) for suffix in ("", *(f"-{i}" for i in range(2, 1000))))
    return next(path for path in candidates if not path.exists())


def check(
    specs: list[Spec],
    cases: Iterable[Case],
    directory: Path,
    *,
    settings: Settings | None = None,
    devices: list[str] | None = None,
    timeout: float = TIMEOUT,
    resume: bool = False,
    progress: Progress = lambda event: None,
    references: dict[Case, Reference] | None = None,
    preset: str | None = None,
) -> Run:
    """Check implementations on cases and write the records as they are made.

    Args:
        specs: what to check.
        cases: what on.
        directory: the run's folder, made if missing.
        settings: the workers' numeric environment.
        devices: device names or kinds ("cpu", "cuda", "cuda:1"); None for all that are found.
        timeout: seconds for one case, and for the import.
        resume: leave out what the folder already has a verdict on; errors are tried again.
        progress: called with every event, from several threads, one at a time.
        preset: the name that the cases go by, to be recorded.
        references: gets those of the cases of which a sample is judged: they are to be timed.

    Raises:
        UsageError: the folder cannot be used, or holds another run.
    """
    settings = settings or Settings()
    described = environment(settings) | {
        "preset": preset,
        "implementations": {s.name: _identity(s) for s in specs},
    }
    earlier = _earlier(directory, described, resume)
    before = files.read_environment(directory) if resume else {}
    described |= {name: before[name] for name in OF_TIMING if name in before}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        recorder = files.Recorder(directory)
    except OSError as error:
        raise UsageError(f"{directory} cannot be written to: {error.strerror}") from None
    run = Run(directory, described, earlier)
    session = _Session(
        run, list(cases), settings, devices, timeout, progress, recorder, references is not None
    )
    session.run(specs)
    if references is not None:
        for case, future in session.references.made.items():
            if case.judged is not None and future.done() and future.exception() is None:
                references[case] = future.result()
    return run


def _earlier(directory: Path, described: dict[str, Any], resume: bool) -> list[Record]:
    """Return the records of the run that is resumed, if it was made the same way."""
    if not resume:
        if next(files.read(directory), None) is not None:
            raise UsageError(f"{directory} has records already: give --resume, or another folder")
        return []
    before = files.read_environment(directory)
    for key in ("settings", "implementations"):
        then, now = before.get(key, {}), described[key]
        changed = [name for name in then.keys() & now.keys() if then[name] != now[name]]
        if changed:
            raise UsageError(
                f"{directory} was made with another {changed[0]} ({then[changed[0]]}, now "
                f"{now[changed[0]]}): resume it as it was, or give another folder"
            )
    # A worker's variables decide its kernels. Records from before these were told have none to ask.
    if "user_variables" in before and before["variables"] != described["variables"]:
        then, now = (one["variables"].items() for one in (before, described))
        changed = sorted({name for name, _ in then ^ now})
        raise UsageError(
            f"{directory} was made with another {changed[0]} in the environment "
            f"({before['variables'].get(changed[0], 'none')}, now "
            f"{described['variables'].get(changed[0], 'none')}): resume it as it was, or give "
            "another folder"
        )
    return files.keep_decided(directory)


def _identity(spec: Spec) -> str:
    """Return what tells one implementation from another of the same name."""
    if not spec.target.endswith(".py"):
        return spec.target
    digest = hashlib.sha256(Path(spec.target).read_bytes()).hexdigest()[:12]
    return f"{Path(spec.target).name} {digest}"


class _Session:
    """What the threads of one run share."""

    def __init__(
        self,
        run: Run,
        cases: list[Case],
        settings: Settings,
        devices: list[str] | None,
        timeout: float,
        progress: Progress,
        recorder: files.Recorder,
        to_be_timed: bool,
    ) -> None:
        self.made, self.cases, self.settings = run, cases, settings
        self.devices, self.timeout, self.progress = devices, timeout, progress
        self.recorder = recorder
        self.done = {record.id: record for record in run.records}
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.examinations: list[Examination] = []
        self.to_be_timed = to_be_timed
        self.references: Shared[Case, Reference]
        self.baseline: _Baseline

    def run(self, specs: list[Spec]) -> None:
        """Drive all implementations, as many at once as there are cores for."""
        self.references = Shared(
            partial(reference, settings=self.settings),
            _size,
            users=len(specs),
            most=KEPT,
            hold=lambda case: self.to_be_timed and case.judged is not None,
        )
        self.baseline = _Baseline(len(specs))
        self.made.write_environment()
        jobs = max(1, usable_cores() // self.settings.threads)
        pool = ThreadPoolExecutor(jobs)
        try:
            futures = [pool.submit(self._drive_baseline)]
            futures += [pool.submit(self._drive, spec) for spec in _last(specs)]
            finish(futures)
        except KeyboardInterrupt:
            self.made.interrupted = True
        finally:
            self.stopping.set()
            self.baseline.finish()
            pool.shutdown(wait=False, cancel_futures=True)
            for examination in self.examinations:
                examination.stop()
            pool.shutdown(wait=True)
            self.made.write_environment()
            self.recorder.close()

    def _drive_baseline(self) -> None:
        """Run `torch.nn.RNN` on the CPU, for the others to be compared with."""
        spec = registered().get(BASELINE)
        examination = self._examination(spec, "baseline") if spec is not None else None
        try:
            if examination is None or "cpu" not in examination.describe().devices:
                return
            for case in self.cases:
                if self.stopping.is_set():
                    return
                plain = case.replace(invariants=False)
                self.baseline.put(case, examination.outcome(plain, "cpu"))
        finally:
            self.baseline.finish()
            if examination is not None:
                examination.stop()

    def _drive(self, spec: Spec) -> None:
        examination = self._examination(spec, spec.name)
        remaining = dict.fromkeys(self.cases)
        try:
            description = examination.describe()
            if self.stopping.is_set():
                return
            with self.lock:
                if description.versions:
                    frameworks = self.made.environment["frameworks"]
                    frameworks[description.framework] = description.versions
            if description.verdict:
                judgement = Judgement(description.verdict, description.reason, {})
                self._record(spec, description, "", None, judgement)
                return
            devices = self._devices(spec, description)
            self._emit(Event(spec.name, planned=len(devices) * len(self.cases)))
            for i, device in enumerate(devices):
                for case in self._check_all(spec, description, examination, device):
                    if i == len(devices) - 1:
                        del remaining[case]
                        self._pass([case])
        finally:
            self._pass(remaining)
            examination.stop()

    def _pass(self, cases: Iterable[Case]) -> None:
        """Note that one implementation needs nothing more of these cases."""
        self.references.passed(cases)
        self.baseline.passed(cases)

    def _examination(self, spec: Spec, name: str) -> Examination:
        log = self.made.directory / f"worker-{_file_name(name)}.log"
        examination = Examination(spec, self.settings, log, self.timeout)
        self.examinations.append(examination)
        return examination

    def _devices(self, spec: Spec, description: Description) -> list[str]:
        here = list(description.devices)
        if self.devices is None and here:
            return here
        chosen = []
        for wanted in self.devices or ["declared"]:
            found = [d for d in here if wanted in (d, d.partition(":")[0])]
            if not found:
                reason = f"no device {wanted} here: there is {', '.join(here) or 'none for it'}"
                self._record(spec, description, wanted, None, Judgement("absent", reason, {}))
            chosen += found
        return list(dict.fromkeys(chosen))

    def _check_all(
        self, spec: Spec, description: Description, examination: Examination, device: str
    ) -> Iterator[Case]:
        """Check all cases on a device, and yield each when it is done with."""
        precision: str | None = None
        asked = False
        for case in self.cases:
            if self.stopping.is_set():
                return
            earlier = self.done.get(full_id(spec.name, device, case))
            if earlier is not None:
                self._emit(Event(spec.name, record=earlier, earlier=True))
                yield case
                continue
            if case.dtype == "float32" and not asked:
                precision, asked = examination.matmul_precision(device), True
            try:
                against = self.references.get(case)
            except UsageError as error:
                judgement = Judgement("unsupported", str(error), {})
                self._record(spec, description, device, case, judgement)
                yield case
                continue
            outcome = examination.outcome(case, device)
            judgement = judge(case, outcome, against, self.baseline.get(case))
            judgement = self._canary(case, judgement, precision)
            names: tuple[str, ...] = ()
            if judgement.verdict == "fail" and judgement.quantities:
                judgement, names = explain_failure(
                    case,
                    judgement,
                    outcome,
                    against,
                    partial(examination.fresh, device=device),
                    partial(reference, settings=self.settings),
                )
            if self.stopping.is_set():
                return
            more = {"diagnosis": names, **as_record_fields(outcome)}
            if case.dtype == "float32":
                more["matmul_precision"] = precision
            self._record(spec, description, device, case, judgement, against, more)
            yield case

    def _canary(self, case: Case, judgement: Judgement, precision: str | None) -> Judgement:
        """Fail a float32 case whose matrix products ran in less than was asked for."""
        wanted = self.settings.matmul_precision
        if case.dtype != "float32" or judgement.verdict not in ("pass", "chaotic", "fail"):
            return judgement
        finest = MATMUL_PRECISIONS.index
        if precision is None or finest(precision) <= finest(wanted):
            return judgement
        reason = f"matrix products ran in {precision}, not in {wanted}"
        if judgement.reason:
            reason = f"{reason}; {judgement.reason}"
        return Judgement("fail", reason, judgement.quantities)

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
            definition=case,
            **(more or {}),
        )
        self.recorder.write(record)
        self._emit(Event(spec.name, record=record))

    def _emit(self, event: Event) -> None:
        with self.lock:
            if event.record is not None and not event.earlier:
                self.made.records.append(event.record)
            self.progress(event)


class _Baseline:
    """What `torch.nn.RNN` made of each case on the CPU; others wait for it."""

    def __init__(self, users: int) -> None:
        self._users = users
        self._outcomes: dict[Case, Outcome] = {}
        self._passed: Counter[Case] = Counter()
        self._finished = False
        self._changed = threading.Condition()

    def put(self, case: Case, outcome: Outcome) -> None:
        with self._changed:
            if self._passed[case] < self._users:
                self._outcomes[case] = Outcome(outcome.arrays, outcome.verdict, outcome.reason)
            self._changed.notify_all()

    def finish(self) -> None:
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def get(self, case: Case) -> Outcome | None:
        """Return the outcome, or None once it is known that there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: case in self._outcomes or self._finished)
            return self._outcomes.get(case)

    def passed(self, cases: Iterable[Case]) -> None:
        """Note that one user will not ask for these again."""
        with self._changed:
            for case in cases:
                self._passed[case] += 1
                if self._passed[case] >= self._users:
                    self._outcomes.pop(case, None)
            self._changed.notify_all()


def _size(against: Reference) -> int:
    """Return how many bytes a reference holds."""
    true = against.true
    arrays = [*true.values.values(), *against.units.values(), *against.problem.weights.values()]
    for trace in (*true.traces, *true.next_traces):
        arrays += [*trace.cell, trace.x, trace.h0, trace.output, trace.grad_h, trace.grad_a]
    return sum(array.nbytes for array in arrays)


def _last(specs: list[Spec]) -> list[Spec]:
    """Return the specs with the slow starters first, so that they do not end alone."""
    return sorted(specs, key=lambda spec: "jax" not in spec.target)


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)[-80:]
