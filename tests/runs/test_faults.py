"""Whatever an implementation does ends in its own record, and in nobody else's."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import faulty_implementations
import hanging
import psutil
import pytest

from rnnparity.implementations.settings import Settings
from rnnparity.runs.processes import Worker, WorkerLost

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and /proc, are Linux's")

FRAMEWORKS = [*faulty_implementations.FRAMEWORKS]
CASE = "float32-torch-init-T12-B4-I8-H16"
SHM = Path("/dev/shm")


class Ran:
    """What a run with all faults, or of the healthy one alone, came to and left behind."""

    def __init__(self, folder, framework, names):
        self.token = f"faults-{os.getpid()}-{framework}-{len(names)}"
        temporary = folder / "temporary"
        temporary.mkdir(parents=True)
        files = [faulty_implementations.write(folder, framework, name).name for name in names]
        options = ("--case", CASE, "--out", "run", "--memory", "3GB", "--json")
        command = [sys.executable, "-m", "rnnparity", "check", *files, *options]
        variables = {"FAULTS_TEST": self.token, "TMPDIR": str(temporary)}
        with subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            output, self.told = process.communicate()
        self.code, self.pid, self.folder = process.returncode, process.pid, folder
        assert output, (self.code, self.told[-2000:])
        self.records = {one["implementation"]: one for one in json.loads(output)["records"]}
        left = [path.name for path in temporary.iterdir()]
        self.left = [name for name in left if not name.startswith("torchinductor")]  # a cache

    @property
    def healthy(self):
        return self.records["healthy"] | {"seconds": None}


@pytest.fixture(scope="module")
def runs(request, tmp_path_factory):
    """Return, of a framework, the run with all of its faults and the one without any."""
    made = {}

    def run(framework):
        if framework not in made:
            pytest.importorskip(framework, reason=f"{framework} is not installed")
            names = [*faulty_implementations.faults(framework), None]
            folders = (tmp_path_factory.mktemp(framework) for _ in range(2))
            made[framework] = [
                Ran(folder, framework, some)
                for folder, some in zip(folders, (names, [None]), strict=True)
            ]
        return made[framework]

    return run


@pytest.mark.parametrize(
    ("framework", "name"),
    [(f, name) for f in FRAMEWORKS for name in faulty_implementations.faults(f)],
)
def test_a_fault_is_one_record_with_its_reason(runs, framework, name):
    verdict, reason = faulty_implementations.faults(framework)[name]
    record = runs(framework)[0].records[f"a_{name}"]
    assert record["verdict"] == verdict, record["reason"]
    assert reason in record["reason"]
    assert bool(record["reason"]) == (verdict != "pass")
    assert record["reason"].isprintable()
    assert len(record["reason"]) < 500


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_others_are_judged_as_without_them(runs, framework):
    """To the last bit: errors, units, horizons."""
    faulty, alone = runs(framework)
    assert alone.healthy["verdict"] == "pass"
    assert faulty.healthy == alone.healthy
    assert (faulty.code, alone.code) == (1, 0)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_nothing_is_left_behind(runs, framework):
    faulty, _ = runs(framework)
    assert _alive(faulty.token) == []
    names = [path.name for path in SHM.iterdir()] if SHM.exists() else []
    assert [n for n in names if faulty.token in n or f"loky-{faulty.pid}-" in n] == []
    assert faulty.left == []
    sizes = {path.name: path.stat().st_size for path in (faulty.folder / "run").iterdir()}
    assert max(sizes.values()) < 2**23, sizes


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_terminal_has_lines_of_ours_alone(runs, framework):
    """No tracebacks, no warnings of a pool's, nothing that an implementation printed."""
    for line in runs(framework)[0].told.splitlines():
        assert re.match(r"\[ *[\d.]+ s\] \w+: ", line), line
        assert len(line) < 300


def _alive(token):
    """Return the command lines of processes with a token in environment or command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                continue
            words = process.cmdline()
            if process.environ().get("FAULTS_TEST") == token or token in words:
                found.append(words)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize(
    "function",
    [hanging.loops, hanging.sleeps, hanging.stops_itself, hanging.waits_for_a_child],
    ids=lambda function: function.__name__,
)
def test_what_hangs_is_ended_and_the_next_call_answered(tmp_path, function):
    worker = Worker(Settings(), tmp_path / "log")
    try:
        first = worker.call(300, hanging.fine)
        with pytest.raises(WorkerLost, match=r"gave no answer in 1 s and was stopped"):
            worker.call(1, function)
        assert not psutil.pid_exists(first)
        assert worker.call(300, hanging.fine) != first
    finally:
        worker.close()
