"""The work of a check runs in any executor: its tasks are pure functions of picklable values."""

import os
import pickle
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from time import sleep

import numpy as np
import pytest

from rnnparity.cells.config import RNNConfig
from rnnparity.implementations.registry import resolve
from rnnparity.implementations.settings import Settings
from rnnparity.problems.cases import Case
from rnnparity.runs import work
from rnnparity.runs.check import check
from rnnparity.runs.plan import Plan
from rnnparity.runs.processes import Worker, WorkerLost

CASES = tuple(Case(config=RNNConfig(input_size=3, hidden_size=4), T=5, B=2, seed=i) for i in (0, 1))


def _verdicts(run):
    return {
        (one.implementation, one.case): (one.verdict, one.quantities["output"].max_abs_error)
        for one in run.records
    }


def test_threads_judge_as_processes_do(tmp_path):
    def plan(name):
        return Plan(specs=(resolve("numpy-loop"),), cases=CASES, directory=tmp_path / name)

    pools = []

    def thread(settings, log):
        pools.append(ThreadPoolExecutor(1))
        return pools[-1]

    here = check(plan("here"), start=thread)
    assert here.passed
    assert len(pools) >= 1
    assert _verdicts(here) == _verdicts(check(plan("there")))


class Sent(ThreadPoolExecutor):
    """What another machine would get and give back: bytes."""

    def submit(self, function, /, *args, **kwargs):
        bytes_ = pickle.dumps((function, args, kwargs))
        answer: Future = Future()
        try:
            again, arguments, named = pickle.loads(bytes_)
            answer.set_result(pickle.loads(pickle.dumps(again(*arguments, **named))))
        except Exception as error:
            answer.set_exception(error)
        return answer


def test_tasks_and_answers_are_bytes(tmp_path):
    plan = Plan(specs=(resolve("numpy-loop"),), cases=CASES, directory=tmp_path / "run")
    assert check(plan, start=lambda settings, log: Sent(1)).passed


def test_a_task_is_a_function_of_its_arguments():
    spec, settings = resolve("numpy-loop"), Settings()
    first, again = (work.run_case(spec, settings, CASES[0], "cpu") for _ in range(2))
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, again.arrays[name])


def test_workers_that_share_the_cases_make_the_records_of_one(tmp_path, monkeypatch):
    """Every case once, what is planned told once, and what is not here recorded once."""
    absent = tmp_path / "absent.py"
    absent.write_text("import not_installed_anywhere\n")
    specs = (resolve("numpy-loop"), resolve(str(absent)))
    cases = tuple(CASES[0].replace(seed=seed) for seed in range(5))
    made, events = [], []

    def thread(settings, log):
        made.append(log.name)
        return ThreadPoolExecutor(1)

    def run(name):
        plan = Plan(specs=specs, cases=cases, directory=tmp_path / name)
        return check(plan, progress=events.append, start=thread)

    one = run("one")
    assert not any(name.endswith("-2.log") for name in made)
    monkeypatch.setattr("rnnparity.runs.here.PART", 2)
    events.clear()
    shared = run("shared")
    assert {f"worker-numpy-loop{part}.log" for part in ("", "-2", "-3")} <= set(made)
    assert len(shared.records) == len(one.records) == 6
    right = [[r for r in made.records if r.case] for made in (one, shared)]
    assert [sorted(r.case for r in records) for records in right] == [
        sorted(c.id for c in cases)
    ] * 2
    figures = [{r.case: (r.verdict, r.quantities) for r in records} for records in right]
    assert figures[0] == figures[1]
    planned = [(event.implementation, event.planned) for event in events if event.planned]
    assert planned == [("numpy-loop", 5)]


def test_what_is_stopped_while_it_waits_is_lost_at_once(tmp_path):
    """A future that is cancelled before it begins: nobody is told, and the time-out is far."""
    pool, begun = ThreadPoolExecutor(1), Event()
    pool.submit(begun.wait)
    worker = Worker(Settings(), tmp_path / "log", start=lambda settings, log: pool)
    with ThreadPoolExecutor(1) as caller:
        waiting = caller.submit(worker.call, 1000, os.getpid)
        while not pool._work_queue.qsize():
            sleep(0.01)
        worker.stop()
        with pytest.raises(WorkerLost, match="was stopped"):
            waiting.result()
    begun.set()
