"""What a worker of a Dask cluster does while timing: a whole job, as one machine does it alone."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from rnnparity.implementations.registry import Spec
from rnnparity.problems.sizes import Job
from rnnparity.records.check import Record
from rnnparity.records.run import Run
from rnnparity.records.timing import Timing
from rnnparity.runs.cluster.crews import Manner
from rnnparity.runs.plan import Plan
from rnnparity.timing.bench import bench
from rnnparity.timing.machine import Watch


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A job to be timed.

    Attributes:
        device: where.
        job: what.
        specs: who takes part, or is told why not.
        records: of the checks on the job's case and device.
        processes: how many repeat the timing.
        budget: seconds of the rounds of each.
        best: whether to measure the best that the machine does, too.
        load: of the machine, before the run has put any on it.
    """

    device: str
    job: Job
    specs: tuple[Spec, ...]
    records: tuple[Record, ...]
    processes: int
    budget: float
    best: bool
    load: float


class Timed(msgspec.Struct, frozen=True, kw_only=True):
    """The timings of a job, without its case's definition, and what timing noted of the machine."""

    timings: list[Timing]
    threads: dict[str, int]
    warnings: list[str]
    best: dict[str, Any]


def time_job(manner: Manner, task: Task) -> Timed:
    """Time a job in a run of its own."""
    with tempfile.TemporaryDirectory(prefix="rnnparity-timing-") as folder:
        plan = Plan(
            specs=task.specs,
            cases=(),
            jobs=(task.job,),
            directory=Path(folder),
            settings=manner.settings,
            timeout=manner.timeout,
            processes=task.processes,
            budget=task.budget,
        )
        run = Run(plan.directory, {"frameworks": {}}, list(task.records))
        watch = Watch(manner.settings.threads, task.load)
        bench(run, plan, {}, watch, best=task.best)
    noted = run.environment.get("timing", {})
    return Timed(
        timings=[msgspec.structs.replace(one, definition=None) for one in run.timings],
        threads=noted.get("threads", {}),
        warnings=noted.get("warnings", []),
        best=run.environment.get("best", {}),
    )


def specs_here(
    specs: Sequence[Spec], here: set[str], records: Sequence[Record]
) -> tuple[Spec, ...]:
    """Return who is sent to a worker: who can run there, and who is not run since it is not right.

    Args:
        specs: all of a run.
        here: the names of those that can run on the worker's device.
        records: of the job's case and device.
    """
    wrong = {r.implementation for r in records if not r.verdict.is_right}
    return tuple(spec for spec in specs if spec.name in here | wrong)
