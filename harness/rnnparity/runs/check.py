"""Carrying out the checks of a plan: every implementation, case and device, as records."""

from collections.abc import Callable
from functools import partial

from rnnparity.judging.reference import Reference
from rnnparity.problems.cases import Case
from rnnparity.records import files
from rnnparity.records.environment import environment
from rnnparity.records.run import Run
from rnnparity.runs import here
from rnnparity.runs.expected import KEPT_LINES, told
from rnnparity.runs.keeping import Event, Keeper, Progress
from rnnparity.runs.plan import Plan
from rnnparity.runs.processes import Start, fresh_process
from rnnparity.runs.resuming import earlier_records, identity, told_by


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
        UsageError: the folder cannot be used, or holds another run; or there is no cluster.
    """
    if plan.cluster is None:
        return _made(plan, progress, partial(here.check_all, plan, start, references))
    from rnnparity.runs.cluster import connecting, spreading  # these import Dask

    with connecting.connected(*plan.for_cluster) as workers:
        return _made(plan, progress, partial(spreading.check_all, plan, workers))


def _made(plan: Plan, progress: Progress, check_all: Callable[[Keeper], None]) -> Run:
    directory = plan.directory
    described = environment(plan.settings) | {
        "preset": plan.preset,
        "implementations": {s.name: identity(s) for s in plan.specs},
    }
    named = described["implementations"]
    if elsewhere := {s.name: told_by(named[s.name]) for s in plan.specs if s.python}:
        described["interpreters"] = elsewhere
    if plan.assumed:
        described["assumed"] = list(plan.assumed)
    if lines := told(plan.expected):
        described[KEPT_LINES] = lines
    notes: list[str] = []
    earlier = earlier_records(plan, described, notes)
    recorder = files.Recorder(directory)
    run = Run(directory, described, earlier, notes=notes)
    keeper = Keeper(plan, run, progress, recorder)
    try:
        keeper.emit(Event(announced=tuple(plan.names), notes=tuple(notes)))
        run.write_environment()
        check_all(keeper)
    except KeyboardInterrupt:
        run.interrupted = True
    finally:
        keeper.finish()
    return run
