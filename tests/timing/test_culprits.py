"""One that brings a shared process down, or spoils it, is found and left out; others are timed."""

import os
import sys
from types import SimpleNamespace

import faulty_implementations
import pytest

import rnnparity
from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.registry import Spec
from rnnparity.implementations.settings import Settings
from rnnparity.problems import sizes
from rnnparity.runs.processes import WorkerLost
from rnnparity.timing.contestants import Contestant
from rnnparity.timing.culprits import LOST_IN_A_ROW, Culprits
from rnnparity.timing.turns import Measured
from rnnparity.verdicts import Verdict

JOB = sizes.jobs("notebook")[0]

# Framework, when it begins, what it does then, and what its row says.
LATE, TIMED = "calls > 40", "'rnnparity.timing.turns' in sys.modules"
HARM = {
    "exits": ("numpy", LATE, "os._exit(3)", "its process exited with code 3"),
    "grows": ("numpy", LATE, "grow()", "of memory and was stopped: 3.0 GB are allowed (--memory"),
    "patches": ("numpy", LATE, "np.tanh = lambda a: a", "it changes the process: healthy is wrong"),
    "killed": (
        "torch",
        LATE,
        "os.kill(os.getpid(), signal.SIGKILL)",
        "its process crashed with SIGKILL",
    ),
    "dies": ("jax", TIMED, "os.abort()", "its process crashed with SIGABRT"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize("name", HARM)
def test_who_does_harm_while_timed_is_told_and_others_are_timed(tmp_path, monkeypatch, name):
    framework, when, does, told = HARM[name]
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip(framework, reason=f"{framework} is not installed")
    monkeypatch.setenv("FAULTS_TEST", f"timed-{os.getpid()}")
    path = faulty_implementations.write(tmp_path, framework)
    harmful = path.read_text().replace("calls == 1:\n        pass", f"{when}:\n        {does}")
    assert does in harmful
    (tmp_path / "harmful.py").write_text(harmful)
    run = rnnparity.bench(
        tmp_path / "harmful.py",
        faulty_implementations.write(tmp_path, "numpy"),
        size=["5,2,3,4"],
        processes=1,
        budget=0.05,
        settings=Settings(memory=3 * 10**9),
        out=tmp_path / "run",
    )
    assert {record.verdict for record in run.records} == {Verdict.PASS}
    forward = {one.implementation: one for one in run.timings if one.mode == "forward"}
    mine = forward.pop("harmful")
    assert (mine.verdict, mine.seconds) == (Verdict.ERROR, ())
    assert told in mine.reason
    assert forward.keys() >= {"torch-rnn", "healthy", "control"}
    assert {one.verdict for one in forward.values()} == {Verdict.PASS}
    assert all(len(one.seconds) == 1 for one in forward.values())


A, B, C = (Contestant(name, Spec(name, f"{name}.py")) for name in "abc")


def culprits(lost=(), spoiled=()):
    """Return culprits whose processes are lost by some, or in which one is wrong beside another."""

    def measure(worker, those, *_):
        names = {one.name for one in those}
        if names & {*lost}:
            raise WorkerLost("gave no answer in 20 s and was stopped")
        wrong = {two for one, two in spoiled if one in names}
        found = {n: Measured(error="off by far" if n in wrong else "right") for n in names}
        return found, dict.fromkeys(names, Outcome())

    def judge(one, job, device, measured, outcome):
        wrong = measured[0].error == "off by far"
        return (Verdict.FAIL, measured[0].error) if wrong else (Verdict.PASS, "")

    def another():
        return SimpleNamespace(close=lambda: None)

    return Culprits(SimpleNamespace(another=another, measure=measure), 0.1, judge)


def told(*wrong):
    return {n: (Verdict.FAIL if n in wrong else Verdict.PASS, "") for n in "abc"}


def test_who_hangs_is_found():
    found = culprits(lost="b").fallen((A, B, C), "cpu", JOB, 0)
    assert found == {"b": "its process gave no answer in 20 s and was stopped"}


def test_who_hangs_in_job_after_job_is_timed_no_more():
    """Each of them costs the whole time-out of all that take turns."""
    known = culprits()
    for count in range(1, LOST_IN_A_ROW + 1):
        assert known.out == {}
        known.note((A, B), {"b": "its process gave no answer in 20 s"})
        assert (count == LOST_IN_A_ROW) == ("b" in known.out)
    assert known.out == {"b": "not timed: its process gave no answer in 20 s, 2 times in a row"}
    other = culprits()
    for fallen in ({"b": "x"}, {}, {"b": "x"}):
        other.note((A, B), fallen)
    assert other.out == {}


def test_who_spoils_the_process_is_told_apart_from_who_is_wrong():
    found = culprits(spoiled=[("a", "b")]).spoilers((A, B, C), told("b"), "cpu", JOB)
    assert found == {"a": "it changes the process: b is wrong (off by far) beside it"}
    assert culprits(spoiled=[("b", "b")]).spoilers((A, B, C), told("b"), "cpu", JOB) == {}
    assert culprits(spoiled=[("a", "b")]).spoilers((A, B, C), told(), "cpu", JOB) == {}
