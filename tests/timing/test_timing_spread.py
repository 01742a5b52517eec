"""Which machine gets which job, and what is made of an answer: with workers that are made up."""

from contextlib import nullcontext

import msgspec
import pytest
from made_up_workers import CASES, SPECS, Workers, offer, right

from rnnparity.problems.sizes import FORWARD, Job
from rnnparity.records import files
from rnnparity.records.run import Run
from rnnparity.runs.cluster.on_worker import Ask
from rnnparity.runs.plan import Plan
from rnnparity.runs.processes import WorkerLost
from rnnparity.timing import spreading
from rnnparity.timing.on_worker import Timed
from rnnparity.timing.session import without_times
from rnnparity.verdicts import Verdict

JOBS = tuple(Job(case, FORWARD) for case in CASES[:6])


def timed(task):
    """Return what a worker answers that has timed all it was sent."""
    return Timed(
        timings=[
            msgspec.structs.replace(
                without_times(spec.name, "numpy", task.device, task.job, Verdict.PASS, ""),
                seconds=((1.0,),),
                calls=(1,),
                first_call=(2.0,),
                definition=None,
            )
            for spec in task.specs
        ],
        threads={"openblas": 1},
        warnings=["something"],
        best={"copy_bytes_per_second": 1.0} if task.best else {},
    )


def bench(workers, folder, monkeypatch):
    asks = [Ask(job.case, spec, "cpu") for job in JOBS for spec in SPECS]
    records = [
        msgspec.structs.replace(record, definition=ask.case)
        for record, ask in zip(right(asks), asks, strict=True)
    ]
    monkeypatch.setattr(spreading, "connected", lambda *plan: nullcontext(workers))
    monkeypatch.setattr(spreading, "COME_WITHIN", 0.01)
    run = Run(folder, {"frameworks": {}}, records)
    spreading.bench(run, Plan(specs=SPECS, cases=(), jobs=JOBS, directory=folder))
    assert len([*files.read_timings(folder)]) == len(run.timings)
    return run


def made_up(offers, answer=timed):
    workers = Workers(offers, lambda worker, task: answer(task))
    workers.hosts = {"host": {"load_at_start": 0.0}}
    return workers


def test_a_machine_has_one_job_at_a_time(tmp_path, monkeypatch):
    """Two workers of one machine, and one of another."""
    offers = {"a": offer(machine="1"), "b": offer(machine="1"), "c": offer(machine="2")}
    seen = []

    def answer(task):
        busy = [offers[call.worker].machine for call in workers.waiting]
        seen.append(len(busy) + 1)
        assert len(busy) == len({*busy})
        return timed(task)

    workers = made_up(offers, answer)
    run = bench(workers, tmp_path, monkeypatch)
    assert max(seen) == 2
    assert {t.definition for t in run.timings} == {job.case for job in JOBS}
    assert len(run.timings) == 2 * len(JOBS)
    assert {t.host for t in run.timings} == {"host"}
    assert [task.best for _, task, _ in workers.given].count(True) <= 2
    assert run.environment["timing"]["warnings"] == ["host: something"]


def test_a_job_goes_where_most_of_it_can_be_compared_and_others_are_told(tmp_path, monkeypatch):
    offers = {"a": offer(others=(), machine="1"), "b": offer(machine="2")}
    workers = made_up(offers)
    run = bench(workers, tmp_path / "most", monkeypatch)
    assert {worker for worker, _, _ in workers.given} == {"b"}
    del offers["b"]
    run = bench(made_up(offers), tmp_path / "less", monkeypatch)
    told = {(t.implementation, t.verdict, t.reason) for t in run.timings}
    assert told == {
        ("plain", Verdict.PASS, ""),
        ("other", Verdict.ABSENT, "is not on host, which timed this"),
    }


WRONG = {
    "lost": lambda found: WorkerLost("its worker of the cluster was lost"),
    "one too few": lambda found: msgspec.structs.replace(found, timings=found.timings[1:]),
    "one twice": lambda found: msgspec.structs.replace(found, timings=found.timings[:1] * 2),
    "times of no process": lambda found: msgspec.structs.replace(
        found, timings=[msgspec.structs.replace(t, calls=()) for t in found.timings]
    ),
    "another job's": lambda found: msgspec.structs.replace(
        found, timings=[msgspec.structs.replace(t, case="of nobody") for t in found.timings]
    ),
}


@pytest.mark.parametrize("how", WRONG)
def test_what_is_no_answer_to_a_job_has_no_times(how, tmp_path, monkeypatch):
    """Of one job; all others are timed."""

    def answer(task):
        found = timed(task)
        return WRONG[how](found) if task.job == JOBS[2] else found

    workers = made_up({"a": offer()}, answer)
    run = bench(workers, tmp_path, monkeypatch)
    wrong = [t for t in run.timings if t.verdict != Verdict.PASS]
    assert {(t.definition, t.verdict, t.seconds) for t in wrong} == {
        (JOBS[2].case, Verdict.ERROR, ())
    }
    assert all(t.reason.endswith(", 3 times") for t in wrong)
    assert len(run.timings) == 2 * len(JOBS)
    assert len(workers.given) == len(JOBS) + 2


def test_a_job_that_nobody_can_do_any_more_is_broken(tmp_path, monkeypatch):
    def answer(task):
        workers.offers.clear()
        return timed(task)

    workers = made_up({"a": offer()}, answer)
    monkeypatch.setattr(type(workers), "labels", {"a": "host"})
    run = bench(workers, tmp_path, monkeypatch)
    assert [t.verdict for t in run.timings] == [Verdict.PASS] * 2 + [Verdict.ERROR] * 10
