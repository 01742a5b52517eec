"""What a worker sends back is data to be checked: whatever it is, it is one error of one check."""

import math
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import ml_dtypes
import msgspec
import numpy as np
import pytest

from rnnparity.cells.config import RNNConfig
from rnnparity.errors import UsageError
from rnnparity.implementations.outcome import Outcome, Trouble
from rnnparity.implementations.registry import Spec
from rnnparity.implementations.settings import Settings
from rnnparity.problems import sizes
from rnnparity.problems.cases import Case
from rnnparity.records.run import Run
from rnnparity.runs import answers, work
from rnnparity.runs.check import check
from rnnparity.runs.examiner import Examiner
from rnnparity.runs.plan import Plan
from rnnparity.runs.processes import Worker, WorkerLost
from rnnparity.timing.contestants import Contestant
from rnnparity.timing.session import Session
from rnnparity.timing.turns import Measured
from rnnparity.timing.workers import Workers
from rnnparity.verdicts import Verdict

CONFIG = RNNConfig(input_size=3, hidden_size=4)
CASES = tuple(
    Case(config=CONFIG, T=5, B=2, seed=i, one_more_step=True, invariants=True) for i in (0, 1)
)
TARGET = "recurrences.elman.numpy_loop"


class Object:
    """Of somebody's class, which the parent need not have."""


class Tampering(Executor):
    """Runs a function here, and changes what it returns before that is sent, or afterwards."""

    def __init__(self, before=lambda result: result, after=lambda sent: sent, only=work.run_case):
        self.before, self.after, self.only = before, after, only

    def submit(self, noted, function, /, *args, **kwargs):
        def changed(*args, **kwargs):
            result = function(*args, **kwargs)
            return self.before(result) if function is self.only else result

        sent = noted(changed, *args, **kwargs)
        future: Future = Future()
        try:
            future.set_result(self.after(sent) if function is self.only else sent)
        except Exception as error:
            future.set_exception(error)
        return future


def forced(kind, **attributes):
    """Return an object past what it refuses itself."""
    made = kind.__new__(kind)
    for name, value in attributes.items():
        object.__setattr__(made, name, value)
    return made


def with_arrays(**changes):
    def change(outcome):
        arrays = {n: a for n, a in outcome.arrays.items() if changes.get(n, a) is not None}
        return replace(outcome, arrays=arrays | {n: a for n, a in changes.items() if a is not None})

    return change


def with_invariant(name, **arrays):
    return lambda outcome: replace(outcome, invariants=outcome.invariants | {name: arrays})


HALF = np.zeros((5, 2, 4), np.float16)
WIDE = np.zeros((5, 3, 4), np.float32)
FINE = np.zeros((5, 2, 4), np.float32)

WRONG = {
    "nothing": (lambda _: None, "returned what is no Outcome"),
    "text": (lambda _: "fine", "returned what is no Outcome: Expected `object`, got `str`"),
    "an object": (lambda _: Object(), "a Object is no plain data"),
    "an object inside": (with_arrays(output=Object()), "a Object is no plain data"),
    "objects": (with_arrays(output=np.array([Object()])), "OBJECT array"),
    "a list": (with_arrays(output=[0.0]), "is no Outcome"),
    "a reason that is none": (lambda o: replace(o, reason=3), "Expected `str`, got `int`"),
    "its own verdict": (
        lambda o: replace(o, verdict=Verdict.CHAOTIC),
        "a verdict that only judging comes to",
    ),
    "a verdict that there is not": (
        lambda o: replace(o, verdict=Object()),
        "is no plain data",
    ),
    "a pass of gradients": (
        lambda o: replace(o, trouble=Trouble(Verdict.PASS, "")),
        "a verdict that only judging comes to",
    ),
    "no state": (with_arrays(h_n=None), "returned no h_n"),
    "another shape": (
        with_arrays(output=WIDE),
        "returned output as float32 (5, 3, 4), expected float32 (5, 2, 4)",
    ),
    "another dtype": (with_arrays(next_h_n=HALF), "returned next_h_n as float16 (5, 2, 4)"),
    "a quantity that there is not": (
        with_arrays(h_m=FINE),
        "h_m as float32 (5, 2, 4), expected no such quantity",
    ),
    "no name at all": (with_arrays(**{"": FINE}), "expected no such quantity"),
    "another parameter": (with_arrays(grad_weight_hh_l7=FINE), "expected no such quantity"),
    "a gradient too few": (with_arrays(grad_x=None), "returned 5 gradients, expected 6"),
    "an invariant of what is not there": (
        with_invariant("chunks", output=FINE, h_n=FINE[:1], c_n=FINE),
        "returned chunks: c_n as float32 (5, 2, 4), expected none",
    ),
    "an invariant of another shape": (
        with_invariant("chunks", output=WIDE, h_n=FINE[:1]),
        "chunks: output as",
    ),
    "half an invariant": (with_invariant("zeros as h0", output=FINE), "returned no h_n"),
    "all rows of what is not there": (
        lambda o: replace(o, every_row={"grad_y": FINE}),
        "all rows weighed: grad_y",
    ),
}

SENT = {
    "nothing": lambda _: None,
    "an object": lambda _: Object(),
    "no bytes": lambda _: [1, 2],
    "other bytes": lambda _: b"\xc1",
    "half of it": lambda sent: sent[:-20],
    "another answer": lambda _: msgspec.msgpack.encode({"result": {"arrays": {"output": 3}}}),
    "an array of less": lambda _: msgspec.msgpack.encode(
        {"result": {"arrays": {"output": {"dtype": "f4", "shape": [2, 3], "data": b"1234"}}}}
    ),
    "an array of nonsense": lambda _: msgspec.msgpack.encode(
        {"result": {"arrays": {"output": {"dtype": "?!", "shape": [-1], "data": b"1234"}}}}
    ),
    "a lost connection": lambda _: (_ for _ in ()).throw(OSError("connection lost")),
    "a task taken back": lambda _: (_ for _ in ()).throw(CancelledError()),
}


def tampered(tmp_path, **how):
    """Check two implementations, one of which sends something else; return the records of each."""
    specs = (Spec("tampered", TARGET), Spec("honest", TARGET))
    plan = Plan(specs=specs, cases=CASES, directory=tmp_path / "run")

    def start(settings, log):
        if "baseline" in log.name:  # not needed here
            return Tampering(before=lambda _: None, only=work.describe)
        return Tampering(**how) if "tampered" in log.name else ThreadPoolExecutor(1)

    run = check(plan, start=start)
    return [[r for r in run.records if r.implementation == spec.name] for spec in specs]


def outcome(tmp_path, **how):
    """Return what comes of a case whose process sends something else."""

    def start(settings, log):
        return Tampering(**how)

    examiner = Examiner(Spec("tampered", TARGET), Settings(), tmp_path / "log", 60, start)
    try:
        return examiner.outcome(CASES[0], "cpu")
    finally:
        examiner.stop()


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_outcome_is_an_error_in_a_line(tmp_path, name):
    change, told = WRONG[name]
    found = outcome(tmp_path, before=change)
    assert found.verdict == "error"
    assert told in found.reason
    assert "\n" not in found.reason


@pytest.mark.parametrize("name", SENT)
def test_whatever_is_sent_is_an_error_in_a_line(tmp_path, name):
    found = outcome(tmp_path, after=SENT[name])
    assert found.verdict == "error"
    assert found.reason
    assert "\n" not in found.reason


@pytest.mark.parametrize("name", ["an object", "a quantity that there is not"])
def test_one_that_sends_nonsense_stops_no_other(tmp_path, name):
    change, told = WRONG[name]
    wrong, honest = tampered(tmp_path, before=change)
    assert [one.verdict for one in wrong] == ["error", "error"]
    assert all(told in one.reason for one in wrong)
    assert [one.verdict for one in honest] == ["pass", "pass"]


def test_nothing_is_changed_where_nothing_is_tampered_with(tmp_path):
    for records in tampered(tmp_path):
        assert [one.verdict for one in records] == ["pass", "pass"]
        assert [one.same_bits_twice for one in records] == [True, True]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda _: None, "on import: returned what is no Description"),
        (lambda d: forced(work.Description, verdict=Verdict.PASS), "on import: "),
        (lambda d: msgspec.structs.replace(d, devices=("cpu", 3)), "Expected `str`, got `int`"),
    ],
)
def test_a_wrong_description_is_an_error_on_import(tmp_path, change, told):
    (wrong,), honest = tampered(tmp_path, before=change, only=work.describe)
    assert (wrong.verdict, wrong.case) == ("error", "")
    assert told in wrong.reason
    assert [one.verdict for one in honest] == ["pass", "pass"]


@pytest.mark.parametrize("answer", [[], [Outcome()], None, 3, [Outcome(verdict=Verdict.FAIL)] * 5])
def test_wrong_answers_of_a_fresh_instance_explain_nothing(tmp_path, answer):
    """The implementation fails, and is asked again on a fresh instance, which answers nonsense."""
    (tmp_path / "wrong.py").write_text(
        "import numpy as np\n"
        "framework = 'numpy'\n"
        "def layer(x, h0, cell, nonlinearity):\n"
        "    return np.full((*x.shape[:2], h0.shape[1]), x.sum() / 99, x.dtype), h0\n"
    )
    spec = Spec("wrong", str(tmp_path / "wrong.py"))
    plan = Plan(specs=(spec,), cases=CASES[:1], directory=tmp_path / "run")
    run = check(plan, start=lambda *_: Tampering(lambda _: answer, only=work.run_fresh))
    (record,) = run.records
    assert record.verdict == "fail"
    assert "units of rounding" in record.reason


def test_arrays_arrive_bit_by_bit():
    arrays = [
        np.array([1.5, np.nan, -0.0], dtype)
        for dtype in (np.float16, np.float32, ">f4", np.longdouble, np.complex64)
    ]
    arrays += [np.zeros((0, 3), ml_dtypes.bfloat16), np.ones((2, 3), ml_dtypes.bfloat16)]
    arrays += [np.array(7), np.arange(12).reshape(3, 4)[:, ::2], np.array([True])]

    def sent() -> dict[str, answers.Array]:
        return {str(i): array for i, array in enumerate(arrays)}

    found = answers.read(answers.answer(sent), sent)
    for array, arrived in zip(arrays, found.values(), strict=True):
        assert (arrived.dtype, arrived.shape) == (array.dtype, array.shape)
        assert arrived.tobytes() == array.tobytes()


def test_what_a_function_raises_is_told_in_a_line():
    def refuses() -> int:
        raise UsageError("expected another file")

    def breaks() -> int:
        raise type("Theirs", (Exception,), {})("one\ntwo")

    def exits() -> int:
        raise SystemExit(3)

    with pytest.raises(UsageError, match="expected another file"):
        answers.read(answers.answer(refuses), refuses)
    for function, told in ((breaks, "raises Theirs: one two"), (exits, "raises SystemExit")):
        with pytest.raises(answers.WrongAnswer, match=told):
            answers.read(answers.answer(function), function)


def test_after_a_wrong_answer_the_process_is_another(tmp_path):
    begun = []

    def start(settings, log):
        begun.append(ThreadPoolExecutor(1))
        return begun[-1]

    def lies() -> int:
        return "three"

    worker = Worker(Settings(), tmp_path / "log", start)
    for count in (1, 2):
        with pytest.raises(WorkerLost, match="is no int: Expected `int"):
            worker.call(60, lies)
        assert len(begun) == count


class Dead(Executor):
    def submit(self, *_, **__):
        raise BrokenExecutor("The exit codes of the workers are {EXIT(7)}")


def test_a_process_that_died_since_its_last_call_is_lost_and_another_begun(tmp_path):
    begun = [Dead(), ThreadPoolExecutor(1)]

    def three() -> int:
        return 3

    worker = Worker(Settings(), tmp_path / "log", lambda *_: begun.pop(0))
    with pytest.raises(WorkerLost, match="exited with code 7"):
        worker.call(60, three)
    assert worker.call(60, three) == 3


def measured(**samples):
    fine = {"seconds": (1.0,) * 4, "fresh": (1.0,), "seen": (1.0,), "cores": (1.0,) * 4}
    return Measured(calls=1, **fine | samples)


@pytest.mark.parametrize(
    "samples",
    [
        {"seconds": (math.nan,) * 4},
        {"seconds": (0.0,) * 4},
        {"seconds": (-1.0,) * 4},
        {"seconds": (math.inf,) * 4},
        {"cores": (math.nan,) * 4},
        {"prepare": -1.0},
        {"error": 3},
        {"reasons": ("cap", 7)},
    ],
)
def test_a_clock_that_says_nonsense_is_refused(samples):
    def times() -> Measured:
        return measured(**samples)

    with pytest.raises(answers.WrongAnswer, match="is no Measured"):
        answers.read(answers.answer(times), times)


@pytest.mark.parametrize("samples", [{"seconds": ()}, {"cores": (1.0,)}, {"seen": ()}])
def test_samples_that_do_not_belong_together_are_refused(samples):
    with pytest.raises(ValueError, match="samples are missing"):
        measured(**samples)


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        ({}, {}),
        ({"a": measured()}, {"a": Outcome()}),
        ({"a": measured(), "b": measured(), "c": measured()}, {"a": Outcome(), "b": Outcome()}),
        ({"a": measured(), "b": measured()}, {"a": Outcome()}),
        (
            {"a": measured(), "b": measured(seconds=(1.0,), cores=(1.0,))},
            {"a": Outcome(), "b": Outcome()},
        ),
    ],
)
def test_rounds_of_others_are_an_error_of_the_process(tmp_path, found, kept):
    spec, job = Spec("a", TARGET), sizes.jobs("notebook")[0]
    plan = Plan(specs=(spec,), cases=(), jobs=(job,), directory=tmp_path)
    workers = Workers(plan, tmp_path)
    session = Session(Run(tmp_path, {}), plan, {}, workers)
    contestants = (Contestant("a", spec), Contestant("b", spec))
    worker = SimpleNamespace(call=lambda *_: (found, kept))
    with pytest.raises(WorkerLost, match="returned rounds of"):
        workers.measure(worker, contestants, "cpu", job, 0.1, 0)
    workers.all, workers.imported = [worker], {spec}
    times, outcomes = session._measure(contestants, "cpu", job, lambda share: None)
    assert all("returned rounds of" in one.error for (one,) in times.values())
    assert outcomes == {}


def test_what_was_timed_and_has_no_arrays_is_an_error(tmp_path):
    spec, job = Spec("a", TARGET), sizes.jobs("notebook")[0]
    plan = Plan(specs=(spec,), cases=(), jobs=(job,), directory=tmp_path)
    worker = SimpleNamespace(call=lambda *_: ({"a": measured()}, {"a": Outcome()}))
    found, kept = Workers(plan, tmp_path).measure(
        worker, (Contestant("a", spec),), "cpu", job, 0.1, 0
    )
    assert found["a"].seconds
    assert kept["a"].verdict == "error"
    assert "returned no output" in kept["a"].reason
