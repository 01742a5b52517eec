"""One process at a time writes into a run's folder; who is gone holds nothing."""

import os
import subprocess
import sys
import textwrap
import threading

import pytest

import rnnparity
from rnnparity.errors import UsageError
from rnnparity.records import lock


def test_a_folder_is_written_by_one_process(tmp_path):
    folder = tmp_path / "run"
    with lock.held(folder):
        command = [sys.executable, "-m", "rnnparity", "check", "numpy-loop", "--out", "run"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 2
        assert f"run is being written by process {os.getpid()} on " in done.stderr
        assert done.stderr.count("\n") == 1
        with pytest.raises(UsageError, match="is being written by"):
            rnnparity.check("numpy-loop", out=folder)
    assert not list(folder.iterdir())
    with lock.held(folder):  # given back
        pass


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_who_is_killed_holds_nothing_and_nor_does_a_child(tmp_path):
    code = """
        import os, signal, subprocess, sys
        from pathlib import Path
        from rnnparity.implementations.settings import Settings
        from rnnparity.records import lock
        from rnnparity.runs.processes import Worker
        with lock.held(Path(sys.argv[1])):
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            sleeping = [sys.executable, "-c", "import time; time.sleep(1000)"]
            child = subprocess.Popen(sleeping, close_fds=False, **quiet)
            worker = Worker(Settings(), Path(sys.argv[1]) / "worker.log")
            worker.call(100, os.getpid)
            print(child.pid, *worker._executor._processes, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    child, _ = map(int, done.stdout.split())
    try:
        assert (tmp_path / lock.LOCK).exists()
        with lock.held(tmp_path):  # while a child lives, and a worker may
            os.kill(child, 0)
        assert not (tmp_path / lock.LOCK).exists()
    finally:
        os.kill(child, 9)


def test_many_who_want_a_folder_have_it_one_after_the_other(tmp_path):
    """While its file is made and removed all the time."""
    inside, most, refused, had = [], [], [], []

    def wants():
        for _ in range(200):
            try:
                with lock.held(tmp_path):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
                    had.append(1)
            except UsageError:
                refused.append(1)

    threads = [threading.Thread(target=wants) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert set(most) == {1}
    assert len(had) + len(refused) == 800


def test_where_nothing_can_be_locked_a_run_goes_on(tmp_path, monkeypatch):
    def without(file):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(lock, "_lock", without)
    with lock.held(tmp_path), lock.held(tmp_path):
        pass
    assert not list(tmp_path.iterdir())
