"""A timing run: its jobs, where it is, and what it adds to a run's folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from rnnparity.judging.reference import Reference
from rnnparity.problems.cases import Case
from rnnparity.problems.sizes import Job
from rnnparity.records import files, pyperf_format
from rnnparity.records.check import Record
from rnnparity.records.run import Run
from rnnparity.records.timing import IMPLEMENTATION, Timing
from rnnparity.runs.plan import Plan
from rnnparity.timing import machine
from rnnparity.timing.session import Session
from rnnparity.timing.workers import Workers


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
    best: bool = True,
) -> None:
    """Time what passed, and add timings to the run and to its folder.

    Args:
        run: with the verdicts on the cases of the jobs; gets the timings.
        plan: what may be timed, the baseline with it, on which jobs and how often.
        references: of the cases, as far as they are at hand.
        watch: of the machine since before the checks, if they were made just now.
        progress: called for every job and process.
        best: whether the best that the machine does is measured, too.
    """
    settings = plan.settings
    watch = watch or machine.Watch(settings.threads)
    todo = jobs_left(run, plan)
    recorder = files.Recorder(run.directory, files.TIMINGS)
    workers = Workers(plan, run.directory)
    try:
        with workers:
            session = Session(run, plan, references, workers)
            for i, (device, job) in enumerate(todo):

                def tell(share: float, i: int = i, what: str = words(job, device)) -> None:
                    progress(Stage(i, len(todo), what, share))

                tell(0.0)
                # What is written of a job when it is torn lacks an implementation, and shows.
                made = sorted(
                    session.time(device, job, tell), key=lambda one: one.role == IMPLEMENTATION
                )
                recorder.write(*made)
                run.timings += made
            progress(Stage(len(todo), len(todo), ""))
            if workers.imported and best:
                run.environment["best"] = workers.best(sorted(_frameworks(run)))
    except KeyboardInterrupt:
        run.interrupted = True
    finally:
        recorder.close()
        if todo:
            threads = workers.threads
            warnings = watch.warnings() + machine.other_threads(threads, settings.threads)
            warnings += machine.throttled(run.timings, workers.throttled_by)
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


def _as_checked(checked: Mapping[files.Key, Record], one: Timing) -> Timing:
    """Return an earlier timing, with what is said of its check now if that did not pass."""
    record = checked.get((one.definition, one.device, one.implementation))
    if record is None or record.verdict.is_right:
        return one
    return replace(one, verdict=record.verdict, reason=record.reason)


def jobs_left(run: Run, plan: Plan) -> list[tuple[str, Job]]:
    """Return what is to be timed where; the run gets the timings that it has already."""
    # A job is kept if all that is to be timed took part in it: they are compared within a job.
    names = set(plan.names)
    checked = {(r.definition, r.device, r.implementation): r for r in run.records}
    wanted = {key for key in checked if key[-1] in names}
    run.timings += files.keep_timed(run.directory, wanted, partial(_as_checked, checked))
    done = {(one.definition, one.mode, one.device) for one in run.timings}
    devices = dict.fromkeys(r.device for r in run.records if r.definition is not None)
    return [(d, job) for d in devices for job in plan.jobs if (job.case, job.mode, d) not in done]


def words(job: Job, device: str) -> str:
    """Return what a job is, in words."""
    case = job.case
    I, H = case.config.input_size, case.config.hidden_size
    return f"T={case.T} B={case.B} I={I} H={H} {case.dtype} {job.mode} on {device}"


def _frameworks(run: Run) -> set[str]:
    return {one.framework for one in run.timings if one.framework and one.seconds}
