"""What was recorded stays recorded: after kills, on a full disk, in folders of all kinds."""

import os
import shlex
import subprocess
import sys
import textwrap
import time
from contextlib import ExitStack
from pathlib import Path

import kills
import psutil
import pytest

from rnnparity.errors import UsageError
from rnnparity.problems.presets import preset
from rnnparity.records import disk, files, lock
from rnnparity.records.check import Record

CASES = [case for case in preset("quick") if case.dtype == "float64"][:3]
CHECK = ("check", "numpy-loop", "--dtype", "float64", "--out", "run")
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and limits are POSIX's")


def record(number, verdict="pass"):
    return Record(
        implementation="mine",
        framework="numpy",
        device="cpu",
        dtype="float64",
        case=CASES[0].id,
        verdict=verdict,
        reason=str(number),
        definition=CASES[0],
    )


def written(folder, count):
    recorder = files.Recorder(folder)
    for number in range(count):
        recorder.write(record(number))
    recorder.close()


def reasons(folder):
    return [one.reason for one in files.read(folder)]


def python(code, *arguments, **options):
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def command_line(*words, cwd, **options):
    command = [sys.executable, "-m", "rnnparity", *words]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run(command, cwd=cwd, text=True, **streams)


def is_told(done, *words):
    """Whether a run ended with one line for its user, which has these words in it."""
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("rnnparity: ") == 1
    assert all(word in last for word in words), last


@POSIX
def test_killed_runs_end_like_one_that_nobody_disturbed(tmp_path):
    """A few; `tests/kills.py` has as many as one likes, also of timings."""
    found = kills.disturbed(kills.CHECK, 4, tmp_path)
    assert found.wrong == []


# A run in miniature: writes lines, goes on after those that are there; with a fault if told so.
MINIATURE = """
import sys, time
from pathlib import Path
fault, folder = sys.argv[1], Path(sys.argv[2])
folder.mkdir(exist_ok=True)
path = folder / "records.jsonl"
there = path.read_text().splitlines() if path.exists() else []
if there and fault == "loses":
    there.pop(0)
    path.write_text("".join(line + "\\n" for line in there))
first = 0 if fault == "doubles" else len(there)
with path.open("a") as file:
    for i in range(first, 20):
        time.sleep(0.02)
        print('{"number": %d}' % i, file=file, flush=True)
if fault == "litters":
    (folder / ("records.jsonl" + ".part")).touch()
"""


@POSIX
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("", []),
        ("loses", ["lost"]),
        ("doubles", ["more than once"]),
        ("litters", [".part is left"]),
    ],
)
def test_what_kills_must_not_do_is_seen(tmp_path, monkeypatch, fault, told):
    def start(words, folder):
        command = [sys.executable, "-c", MINIATURE, fault, str(folder)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    monkeypatch.setattr(kills, "start", start)
    monkeypatch.setattr(kills, "EARLIEST", 0.1)
    wrong = " ".join(kills.disturbed(kills.CHECK, 8, tmp_path).wrong)
    assert all(word in wrong for word in told)
    assert bool(wrong) == bool(told), wrong


# Killed within the syncing of what replaces a file, just before it does, and just after.
KILLED = """
import os, signal, sys
from pathlib import Path
from rnnparity.records import disk, files
from rnnparity.records.check import Record
moment, does, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
real = Path.replace
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def replace(path, target):
    if moment == "after":
        real(path, target)
    die()
def arm():
    if moment == "syncing":
        os.fsync = die
    Path.replace = replace
if does == "resumes":
    arm()
    files.keep(folder, files.RECORDS, Record, lambda one: one.reason != "1")
else:
    recorder = files.Recorder(folder)
    (folder / files.RECORDS).write_bytes(b"")  # as somebody else has emptied it
    arm()
    recorder.close()
"""


@POSIX
@pytest.mark.parametrize("moment", ["syncing", "before", "after"])
@pytest.mark.parametrize("does", ["resumes", "closes"])
def test_killed_while_records_are_replaced(tmp_path, moment, does):
    written(tmp_path, 3)
    assert python(KILLED, moment, does, tmp_path).returncode == -9
    before, after = {"resumes": ("012", "02"), "closes": ("", "012")}[does]
    assert "".join(reasons(tmp_path)) == (after if moment == "after" else before)
    left = [path.name for path in tmp_path.glob("*.part")]
    assert left == ([] if moment == "after" else ["records.jsonl.part"])
    with lock.held(tmp_path):  # as whoever goes on does
        assert not list(tmp_path.glob("*.part"))


def test_each_record_is_synced(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(reasons(tmp_path)))
    written(tmp_path, 3)
    assert synced == [["0"], ["0", "1"], ["0", "1", "2"]]


def test_a_torn_line_goes_before_another_is_appended(tmp_path):
    """Also where it is the only one, so that the folder counts as empty."""
    path = tmp_path / files.RECORDS
    path.write_text('{"implementation": "mi')
    written(tmp_path, 2)
    assert reasons(tmp_path) == ["0", "1"]


def test_one_who_is_killed_before_it_has_begun_leaves_no_worker(tmp_path):
    """A worker that has started without a parent: it ends, with its folder and its children."""
    (tmp_path / "sent").mkdir()
    code = """
        import subprocess, sys, time
        from rnnparity.runs import serving
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], **quiet)
        print(child.pid, flush=True)
        serving.begin(1, sys.argv[1], sys.argv[1] + ".counted", {}, sys.argv[2])
        time.sleep(1000)
    """
    environment = os.environ | {"RNNPARITY_WORKER": tmp_path.name}
    done = python(code, tmp_path / "log", tmp_path / "sent", env=environment)
    assert done.returncode == 1
    assert not (tmp_path / "sent").exists()
    child = int(done.stdout)
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)


@POSIX
def test_a_full_disk_loses_nothing_and_is_told(tmp_path):
    """A limit on the size of files stands for it: some records are written, then no more."""
    code = """
        import os, resource, sys
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, resource.RLIM_INFINITY))
        os.execv(sys.executable, [sys.executable, "-m", "rnnparity", *sys.argv[1:]])
    """
    done = python(code, *CHECK, cwd=tmp_path)
    is_told(done, "records.jsonl cannot be written", "File too large", "--resume --out run goes on")
    path = tmp_path / "run" / files.RECORDS
    held = path.read_bytes()
    assert held.endswith(b"\n")
    assert held.count(b"\n") >= 2
    assert command_line(*CHECK, "--resume", cwd=tmp_path).returncode == 0
    assert path.read_bytes().startswith(held)
    assert len(set(reasons_of(path))) == len(reasons_of(path)) == 9


def reasons_of(path):
    return [one.id for one in files.read(path.parent)]


@pytest.mark.parametrize("name", [files.RECORDS, files.ENVIRONMENT])
def test_a_file_that_cannot_be_written_is_told(tmp_path, name):
    (tmp_path / "run" / name).mkdir(parents=True)
    is_told(command_line(*CHECK, cwd=tmp_path), name, "directory")


def test_what_is_replaced_is_there_or_was(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    disk.replace(path, b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left on device; what was recorded before"):
        disk.replace(path, b"new")
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]
    recorder = files.Recorder(tmp_path)
    with pytest.raises(UsageError, match="No space left on device"):
        recorder.write(record(0))
    recorder.close()
    assert (tmp_path / files.RECORDS).read_bytes() == b""


def test_a_file_system_that_cannot_sync_does(tmp_path, monkeypatch):
    def odd(descriptor):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", odd)
    written(tmp_path, 2)
    assert reasons(tmp_path) == ["0", "1"]


@POSIX
@pytest.mark.parametrize("words", [("--json",), ("--report",)])
def test_output_that_nobody_takes(tmp_path, words):
    """On a full device, and into a pipe that is closed: no traceback; the files are there."""
    with Path("/dev/full").open("w") as full:
        is_told(command_line(*CHECK, *words, cwd=tmp_path, stdout=full), "No space left on device")
    with ExitStack() as stack:
        read, write = os.pipe()
        os.close(read)
        stack.callback(os.close, write)
        done = command_line(*CHECK, *words, "--resume", cwd=tmp_path, stdout=write)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert (tmp_path / "run" / "report.html").exists() == (words == ("--report",))
    assert len(reasons(tmp_path / "run")) == 9


@POSIX
@pytest.mark.parametrize("how", [">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_a_run_goes_on_without_streams(tmp_path, how):
    """What the shell has closed, or cannot write: no file of the run takes its number."""
    words = shlex.join([sys.executable, "-m", "rnnparity", *CHECK])
    assert subprocess.run(f"{words} {how}", shell=True, cwd=tmp_path).returncode == 0
    assert len(reasons(tmp_path / "run")) == 9
