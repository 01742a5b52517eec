"""The work of a check runs in any executor: its tasks are pure functions of picklable values."""

import pickle
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from rnnparity.cells.config import RNNConfig
from rnnparity.implementations.registry import resolve
from rnnparity.implementations.settings import Settings
from rnnparity.problems.cases import Case
from rnnparity.runs import work
from rnnparity.runs.check import check
from rnnparity.runs.plan import Plan

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
