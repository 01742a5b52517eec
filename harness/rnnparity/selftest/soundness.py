"""No right implementation may be failed: the project's, in workers, and the `right_ways`.

What the two need is the same reference; the ways are judged in a process of their own, which makes
it again, since they take as long as all workers together.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from rnnparity.implementations import registry
from rnnparity.judging.reference import reference
from rnnparity.judging.verdict import judge
from rnnparity.problems.cases import Case
from rnnparity.runs import processes
from rnnparity.runs.examiner import Examiner
from rnnparity.runs.processes import Worker, WorkerLost
from rnnparity.selftest.findings import Failure, Found, JudgedRun, runs_of
from rnnparity.selftest.right_ways import WAYS, outcome
from rnnparity.selftest.rules import apply_rules
from rnnparity.verdicts import Verdict

Judged = tuple[list[JudgedRun], list[Failure]]


def check_group(
    group: list[Case],
    here: dict[str, Examiner],
    ways: Worker,
    pool: ThreadPoolExecutor,
    timeout: float,
    found: Found,
    progress: Callable[[], object],
) -> None:
    """Judge right implementations on cases of one shape.

    Args:
        group: the cases.
        here: the implementations that can be run.
        ways: the process in which ways are judged.
        pool: a thread for every implementation and one more.
        timeout: seconds for one case.
        found: what is added to.
        progress: called after every case.
    """
    waiting = len(group) * timeout  # they stand in a queue
    judged = [pool.submit(ways.call, waiting, judge_ways, case) for case in group]
    for case, of_ways in zip(group, judged, strict=True):
        _check_implementations(case, here, pool, found)
        try:
            processes.finish([of_ways])
            runs, rejected = of_ways.result()
        except WorkerLost as lost:
            runs, rejected = [], [Failure("the right ways", case.id, str(lost))]
        found.runs += runs
        found.rejected += rejected
        progress()


def judge_ways(case: Case) -> Judged:
    """Judge every right way on a case (in a worker)."""
    against = reference(case)
    runs: list[JudgedRun] = []
    rejected: list[Failure] = []
    for way in WAYS:
        if not way.applies(case):
            continue
        judgement = judge(case, outcome(way, case, against.problem), against)
        runs += runs_of(way.name, case, judgement)
        if not judgement.verdict.is_right:
            rejected.append(Failure(way.name, case.id, judgement.reason))
    return runs, rejected


def _check_implementations(
    case: Case, here: dict[str, Examiner], pool: ThreadPoolExecutor, found: Found
) -> None:
    futures = {name: pool.submit(e.outcome, case, "cpu") for name, e in here.items()}
    against = reference(case)
    processes.finish(futures.values())
    outcomes = {name: future.result() for name, future in futures.items()}
    baseline = outcomes.get(registry.BASELINE)
    for name, result in outcomes.items():
        judgement = judge(case, result, against)
        if judgement.verdict == Verdict.UNSUPPORTED:
            continue
        if not judgement.verdict.is_right:
            found.rejected.append(Failure(name, case.id, judgement.reason))
        found.runs += runs_of(name, case, judgement)
        if case.dtype == "float32" and name != registry.BASELINE:
            ours = judgement.verdict != Verdict.FAIL
            apply_rules(case, result, baseline, against, ours, found.right)
