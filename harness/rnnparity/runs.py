"""A run: every implementation on every case and device, judged and recorded as it goes.

One thread per implementation drives one worker process; judging happens here, against a truth that
is computed once per case.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from rnnparity import problems, records, workers
from rnnparity.cases import Case, full_id
from rnnparity.environment import environment, usable_cores
from rnnparity.errors import UsageError
from rnnparity.execution import Outcome
from rnnparity.records import Record
from rnnparity.registry import BASELINE, Spec
from rnnparity.settings import Settings
from rnnparity.truth import truth
from rnnparity.verdict import judge
from rnnparity.workers import Description, Worker, WorkerLost

# Seconds: an import, or one case with its compilation, on a slow and busy machine.
TIMEOUT = 120.0

Progress = Callable[["Event"], None]


@dataclass(frozen=True)
class Event:
    """Something to show: `planned` checks for an implementation, or one `record` made."""

    implementation: str
    planned: int | None = None
    record: Record | None = None


@dataclass
class Run:
    """What a run made, as far as it got."""

    directory: Path
    environment: dict[str, Any]
    records: list[Record] = field(default_factory=list)
    descriptions: dict[str, Description] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def passed(self) -> bool:
        """Whether something was checked and nothing failed or broke."""
        verdicts = {record.verdict for record in self.records}
        return "pass" in verdicts and not verdicts & {"fail", "error"} and not self.interrupted


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
) -> Run:
    """Check implementations on cases and write the records as they are made.

    Args:
        specs: what to check.
        cases: what on.
        directory: the run's folder, made if missing.
        settings: the workers' numeric environment.
        devices: device names or kinds ("cpu", "cuda", "cuda:1"); None for all that are found.
        timeout: seconds for one case, and for the import.
        resume: leave out what the folder already has a record of.
        progress: called with every event, from several threads, one at a time.

    Raises:
        UsageError: the folder has records already and `resume` is not asked for.
    """
    settings = settings or Settings()
    earlier = list(records.read(directory))
    if earlier and not resume:
        raise UsageError(f"{directory} has records already: give --resume, or another folder")
    if resume:
        records.drop_torn_line(directory)
    run = Run(directory, environment(settings), earlier)
    session = _Session(run, list(cases), settings, devices, timeout, progress)
    session.run(specs)
    return run


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
    ) -> None:
        self.made, self.cases, self.settings = run, cases, settings
        self.devices, self.timeout, self.progress = devices, timeout, progress
        self.done = {record.id for record in run.records if record.definition is not None}
        self.recorder = records.Recorder(run.directory)
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.workers: list[Worker] = []
        self.truths: dict[Case, Future[dict[str, Any]]] = {}
        self.baseline = _Baseline()

    def run(self, specs: list[Spec]) -> None:
        """Drive all implementations, as many at once as there are cores for."""
        first = [spec for spec in specs if spec.name == BASELINE]
        if not first:
            self.baseline.finish()
        self._write_environment()
        jobs = max(1, usable_cores() // self.settings.threads)
        pool = ThreadPoolExecutor(jobs)
        try:
            ordered = first + [spec for spec in specs if spec.name != BASELINE]
            futures = [pool.submit(self._drive, spec) for spec in ordered]
            wait(futures, return_when=FIRST_EXCEPTION)
            for future in futures:
                future.result()
        except KeyboardInterrupt:
            self.made.interrupted = True
        finally:
            self.stopping.set()
            self.baseline.finish()
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in self.workers:
                worker.stop()
            pool.shutdown(wait=True)
            self._write_environment()
            self.recorder.close()

    def _drive(self, spec: Spec) -> None:
        worker = Worker(self.settings, self.made.directory / f"worker-{_file_name(spec.name)}.log")
        self.workers.append(worker)
        try:
            description = self._describe(spec, worker)
            if description.verdict:
                self._record(spec, description, "", None, description.verdict, description.reason)
                return
            devices = self._devices(spec, description)
            self._emit(Event(spec.name, planned=len(devices) * len(self.cases)))
            for device in devices:
                for case in self.cases:
                    if self.stopping.is_set():
                        return
                    self._check(spec, description, worker, device, case)
        finally:
            if spec.name == BASELINE:
                self.baseline.finish()
            worker.stop()

    def _describe(self, spec: Spec, worker: Worker) -> Description:
        try:
            description = worker.call(self.timeout, workers.describe, spec, self.settings)
        except WorkerLost as lost:
            description = Description(verdict="error", reason=f"on import: {lost}")
        with self.lock:
            self.made.descriptions[spec.name] = description
            if description.versions:
                self.made.environment["frameworks"][description.framework] = description.versions
        return description

    def _devices(self, spec: Spec, description: Description) -> list[str]:
        if self.devices is None:
            return list(description.devices)
        chosen = []
        for wanted in self.devices:
            found = [d for d in description.devices if wanted in (d, d.partition(":")[0])]
            if not found:
                reason = f"no device {wanted} here: {', '.join(description.devices)}"
                self._record(spec, description, wanted, None, "absent", reason)
            chosen += found
        return list(dict.fromkeys(chosen))

    def _check(
        self, spec: Spec, description: Description, worker: Worker, device: str, case: Case
    ) -> None:
        on_baseline = spec.name == BASELINE and device == "cpu"
        repeated = full_id(spec.name, device, case) in self.done
        if repeated and not on_baseline:
            self._emit(Event(spec.name))
            return
        try:
            outcome: Outcome = worker.call(
                self.timeout, workers.run_case, spec, self.settings, case, device
            )
        except WorkerLost as lost:
            outcome = Outcome(verdict="error", reason=str(lost))
        if self.stopping.is_set():
            return
        if on_baseline:
            self.baseline.put(case, outcome)
        if repeated:
            return
        baseline = self.baseline.get(case)
        verdict, reason, quantities = judge(case, outcome, self._truth(case), baseline)
        self._record(spec, description, device, case, verdict, reason, quantities)

    def _truth(self, case: Case) -> dict[str, Any]:
        with self.lock:
            mine = case not in self.truths
            future = self.truths.setdefault(case, Future())
        if mine:
            try:
                future.set_result(truth(case, problems.build(case)))
            except BaseException as error:
                future.set_exception(error)
        return future.result()

    def _record(
        self,
        spec: Spec,
        description: Description,
        device: str,
        case: Case | None,
        verdict: str,
        reason: str,
        quantities: dict[str, records.Quantity] | None = None,
    ) -> None:
        record = Record(
            implementation=spec.name,
            framework=description.framework,
            device=device,
            dtype="" if case is None else case.dtype,
            case="" if case is None else case.id,
            verdict=verdict,
            reason=reason,
            quantities=quantities or {},
            definition=case,
        )
        self.recorder.write(record)
        self._emit(Event(spec.name, record=record))

    def _emit(self, event: Event) -> None:
        with self.lock:
            if event.record is not None:
                self.made.records.append(event.record)
            self.progress(event)

    def _write_environment(self) -> None:
        text = msgspec.json.format(msgspec.json.encode(self.made.environment), indent=2)
        (self.made.directory / records.ENVIRONMENT).write_bytes(text + b"\n")


class _Baseline:
    """What `torch.nn.RNN` made of each case on the CPU; others wait for it."""

    def __init__(self) -> None:
        self._outcomes: dict[Case, Outcome] = {}
        self._finished = False
        self._changed = threading.Condition()

    def put(self, case: Case, outcome: Outcome) -> None:
        with self._changed:
            self._outcomes[case] = outcome
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


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)[-80:]
