"""What a worker leaves behind, or takes too much of, is ended with it; the others go on."""

import subprocess
import sys
import time

import psutil
import pytest

import rnnparity
from rnnparity.implementations.settings import Settings
from rnnparity.problems.presets import preset
from rnnparity.records.run import read
from rnnparity.runs import leftovers
from rnnparity.verdicts import Verdict

CASE = "float32-torch-init-T12-B4-I8-H16"
CASES = [case for case in preset("quick") if case.id == CASE]

RIGHT = """
import os, subprocess, sys, time
import numpy as np
framework = "numpy"
gradients = False
calls = 0


def layer(x, h0, cell, nonlinearity):
    global calls
    calls += 1
    DOES
    h, output = h0, []
    for x_t in x:
        h = np.tanh(x_t @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh)
        output.append(h)
    return np.stack(output), h
"""

DAEMON = """if calls == 1 and os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)"""
SESSION = """if calls == 1:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"],
                         start_new_session=True)"""
HOLDS = """if calls == 1 and os.fork() == 0:
        time.sleep(1000)  # with the pipes of the worker in its hands
    os._exit(3)"""
DIES = SESSION + "\n    os._exit(3)"


def _check(folder, does, **options):
    (folder / "harmful.py").write_text(RIGHT.replace("DOES", does))
    (folder / "healthy.py").write_text(RIGHT.replace("DOES", "pass"))
    run = rnnparity.check(
        folder / "harmful.py", folder / "healthy.py", cases=CASES, out=folder / "run", **options
    )
    found = {record.implementation: record for record in run.records}
    assert found["healthy"].verdict == Verdict.PASS
    return found["harmful"]


def _alive(name):
    """Return the processes that have a name in their environment: this test's own."""
    found = set()
    for process in psutil.process_iter():
        try:
            if process.environ().get("LEFTOVERS_TEST") == name:
                found.add(process.pid)
        except psutil.Error:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="forks, and /proc, are Linux's")
@pytest.mark.parametrize(
    ("does", "verdict"),
    [
        (DAEMON, Verdict.PASS),
        (SESSION, Verdict.PASS),
        (DIES, Verdict.ERROR),
        (HOLDS, Verdict.ERROR),
    ],
    ids=["daemon", "session", "exits", "holds"],
)
def test_no_process_outlives_its_worker(tmp_path, monkeypatch, does, verdict):
    monkeypatch.setenv("LEFTOVERS_TEST", str(tmp_path))
    assert _check(tmp_path, does).verdict == verdict
    tracker = {p.pid for p in psutil.Process().children() if "resource_tracker" in str(p.cmdline())}
    assert _alive(str(tmp_path)) <= tracker


@pytest.mark.skipif(sys.platform != "linux", reason="environments of processes are Linux's")
def test_only_what_has_the_mark_is_ended():
    """The twin: a process of somebody else's stays, one with the mark goes."""
    mark = leftovers.mark()
    sleeping = [sys.executable, "-c", "import time; time.sleep(1000)"]
    other = subprocess.Popen(sleeping)
    own = subprocess.Popen(sleeping, env={leftovers.MARK: mark})
    try:
        while leftovers.end(mark) == 0:  # until it has its environment
            time.sleep(0.01)
        assert own.wait() != 0
        assert other.poll() is None
    finally:
        other.kill()
        own.kill()
        other.wait()


@pytest.mark.parametrize(
    "does",
    [
        "__import__('shutil').rmtree(RUN, ignore_errors=True)",
        "open(RUN + '/records.jsonl', 'a').write('{')",
        "open(RUN + '/records.jsonl', 'w').close()",
    ],
    ids=["removed", "torn", "emptied"],
)
def test_records_survive_what_is_done_to_their_folder(tmp_path, does):
    _check(tmp_path, does.replace("RUN", repr(str(tmp_path / "run"))))
    found = read(tmp_path / "run")
    assert {record.implementation for record in found.records} == {"harmful", "healthy"}
    assert not found.notes
    assert found.environment["implementations"]


def test_a_log_has_an_end(tmp_path):
    flood = "print('x' * 2**20) if calls == 1 else None; [print('y' * 2**20) for _ in range(20)]"
    assert _check(tmp_path, flood).verdict == Verdict.PASS
    logs = [path.stat().st_size for path in (tmp_path / "run").glob("*.log")]
    assert max(logs) <= leftovers.LOG_MOST


def test_a_small_log_is_left_alone(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("short")
    leftovers.cut(log)
    assert log.read_text() == "short"


def test_memory_has_a_limit(tmp_path):
    grows = "held = []\n    while True: held.append(np.ones(2**24)); time.sleep(0.05)"
    record = _check(tmp_path, grows, settings=Settings(memory=2 * 10**9))
    assert record.verdict == Verdict.ERROR
    assert "GB of memory and was stopped: 2.0 GB are allowed (--memory;" in record.reason
