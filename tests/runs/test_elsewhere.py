"""Implementations that another Python runs: judged as ever, and each trouble is a line."""

import os
import pickletools
import subprocess
import sys
import time

import environments
import msgspec
import psutil
import pytest

import rnnparity
from rnnparity.errors import UsageError
from rnnparity.implementations import interpreters
from rnnparity.implementations.registry import resolve_all
from rnnparity.implementations.settings import Settings
from rnnparity.problems.presets import preset
from rnnparity.runs import elsewhere, parcels
from rnnparity.runs.expected import Expected
from rnnparity.runs.plan import specs

pytestmark = pytest.mark.skipif(os.name != "posix", reason="another Python needs sockets of POSIX")

CASES = [case for case in preset("quick") if case.dtype in ("float64", "bfloat16")][:4]

PORT = """
import os, signal, subprocess, sys, time
import numpy as np
framework = "numpy"
gradients = False


def layer(x, h0, cell, nonlinearity):
    DOES
    h, output = h0, []
    for x_t in x:
        h = np.tanh(x_t @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh)
        output.append(h)
    return np.stack(output), h
"""

SLEEPS = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'])"
HOLDS = """if os.fork() == 0:
        time.sleep(1000)  # with the socket of the worker in its hands
    os._exit(3)"""


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A Python of an environment that has what workers need, and nothing else."""
    return environments.beside(tmp_path_factory.mktemp("envs") / "other", *elsewhere.NEEDED)


def lasting(record):
    return msgspec.structs.replace(record, implementation="", seconds=None)


@pytest.fixture
def left(tmp_path, monkeypatch):
    """Return the processes that this test has started, directly or not."""
    monkeypatch.setenv("ELSEWHERE_TEST", str(tmp_path))

    def found():
        alive = set()
        for process in psutil.process_iter():
            try:
                own = process.environ().get("ELSEWHERE_TEST") == str(tmp_path)
                if own and "tracker" not in " ".join(process.cmdline()):  # this process's own
                    alive.add(process.pid)
            except psutil.Error:
                continue
        return alive

    return found


def test_the_records_are_those_of_this_python(other, tmp_path):
    run = rnnparity.check("numpy-loop", f"numpy-loop@{other}", cases=CASES, out=tmp_path / "run")
    by_name = {}
    for record in run.records:
        by_name.setdefault(record.implementation, {})[record.case] = lasting(record)
    assert {*by_name} == {"numpy-loop", "numpy-loop@other"}
    assert by_name["numpy-loop@other"] == by_name["numpy-loop"]
    assert len(by_name["numpy-loop"]) == len(CASES)
    told = run.environment["interpreters"]["numpy-loop@other"]
    assert told["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {*told["packages"]} == {"numpy"}
    assert run.environment["frameworks"].keys() >= {"numpy"}


def test_it_is_the_other_python_that_runs_it(other, tmp_path, monkeypatch):
    """With its own packages: neither this one's, nor what the user's PYTHONPATH names."""
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow" / "numpy.py").write_text("raise RuntimeError('of another Python')")
    (tmp_path / "port.py").write_text(
        "import importlib.util\n"
        f"assert sys.prefix == {str(other.parents[1])!r}, sys.prefix\n".replace(
            "sys", "__import__('sys')"
        )
        + "assert importlib.util.find_spec('loky') is None\n"
        + PORT.replace("DOES", "pass")
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "shadow"))
    run = rnnparity.check(
        tmp_path / "port.py", python=other.parents[1], cases=CASES[:1], out=tmp_path / "run"
    )
    (record,) = run.records
    assert (record.implementation, record.verdict) == ("port@other", "pass"), record.reason


@pytest.mark.parametrize(
    ("does", "reason", "options"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed with SIGSEGV", {}),
        ("os.kill(os.getpid(), signal.SIGKILL)", "crashed with SIGKILL", {}),
        ("os._exit(3)", "exited with code 3", {}),
        ("raise SystemExit(4)", "SystemExit(4)", {}),
        ("time.sleep(1000)", "gave no answer in 4 s", {"timeout": 4}),
        ("os.closerange(3, 256)", "", {"timeout": 30}),
        (f"{SLEEPS}\n    os._exit(3)", "exited with code 3", {}),
        (f"{SLEEPS}\n    time.sleep(1000)", "gave no answer in 4 s", {"timeout": 4}),
        pytest.param(
            *(HOLDS, "exited with code 3", {}),
            marks=pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's"),
        ),
        ("held = [bytearray(2**20) for _ in range(3000)]", "of memory", {"settings": 10**9}),
    ],
)
def test_what_goes_wrong_there_is_an_error_and_leaves_nothing(
    other, tmp_path, left, does, reason, options
):
    (tmp_path / "port.py").write_text(PORT.replace("DOES", does))
    if "settings" in options:
        options = {"settings": Settings(memory=options["settings"])}
    run = rnnparity.check(
        f"{tmp_path / 'port.py'}@{other}", cases=CASES[:1], out=tmp_path / "run", **options
    )
    (record,) = run.records
    assert record.verdict == "error", record.reason
    assert reason in record.reason
    assert left() == set()


def test_a_worker_ends_with_a_parent_that_is_killed(other, tmp_path, left):
    """And with it what it has started."""
    does = f"{SLEEPS}\n    open({str(tmp_path / 'there')!r}, 'w').close()\n    time.sleep(1000)"
    (tmp_path / "port.py").write_text(PORT.replace("DOES", does))
    command = [sys.executable, "-m", "rnnparity", "check", f"port.py@{other}", "--out", "run"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        while not (tmp_path / "there").exists():
            assert process.poll() is None
        assert len(left()) >= 3  # the worker, and what it has started, too
        process.kill()
    while left():
        time.sleep(0.1)


def test_what_lacks_packages_is_absent_and_says_how_to_get_them(tmp_path):
    kept = [name for name in elsewhere.NEEDED if name not in ("msgspec", "ml_dtypes")]
    bare = environments.beside(tmp_path / "bare", *kept)
    run = rnnparity.check(f"numpy-loop@{bare}", cases=CASES[:1], out=tmp_path / "run")
    (record,) = run.records
    assert (record.verdict, record.reason) == (
        "absent",
        f"ml_dtypes, msgspec are not installed: {bare} -m pip install ml-dtypes msgspec",
    )


def test_a_framework_that_is_missing_there_is_absent(other, tmp_path):
    command = [sys.executable, "-m", "rnnparity", "check", f"torch-rnn@{other}", "--out", "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"torch is not installed: {other} -m pip install 'rnnparity[torch]'" in done.stderr


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("""echo '["3.10.4", []]'""", "is Python 3.10.4, expected 3.11 or newer"),
        ("echo hello", "is no Python that works: it does not say its version"),
        ("echo '[3, 4]'", "is no Python that works: it does not say its version"),
        ("echo it is broken >&2; exit 7", "is no Python that works: it is broken"),
        ("exit 7", "is no Python that works: it exits with code 7"),
        (None, "is no Python that works: Permission denied"),
    ],
)
def test_what_is_no_python_is_told_in_a_line(tmp_path, script, told):
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755 if script else 0o644)
    with pytest.raises(UsageError, match=told) as caught:
        rnnparity.check(f"numpy-loop@{fake}", out=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_what_is_not_there_is_told_in_a_line(tmp_path):
    for path in ("nowhere/python", "no-such-command", "", str(tmp_path)):
        with pytest.raises(UsageError, match="no Python"):
            specs([f"numpy-loop@{path}"])
    with pytest.raises(UsageError, match="name the implementations"):
        specs([], python=sys.executable)


def python_of(folder):
    (folder / "bin").mkdir(parents=True)
    (folder / "pyvenv.cfg").touch()
    (folder / "bin" / "python").touch()
    return folder / "bin" / "python"


def test_names_tell_pythons_apart(tmp_path):
    one, two = python_of(tmp_path / "a" / ".venv"), python_of(tmp_path / "b" / ".venv")
    texts = ["numpy-loop", f"numpy-loop@{one}", f"numpy-loop@{two}", f"torch-loop@{two.parents[1]}"]
    found = resolve_all(texts, kinds=("rnn", "gru"))
    expected = ["numpy-loop", "numpy-loop@a/.venv", "numpy-loop@b/.venv", "torch-loop@b/.venv"]
    assert [spec.name for spec in found] == expected + [f"{name} (gru)" for name in expected]
    assert [spec.python for spec in found[:4]] == ["", str(one), str(two), str(two)]
    alone = resolve_all([f"numpy-loop@{one}"])
    assert [spec.name for spec in alone] == ["numpy-loop@.venv"]
    (one.parent / "python3").touch()
    found = resolve_all([f"numpy-loop@{one}", f"numpy-loop@{one.parent / 'python3'}"])
    assert [spec.name for spec in found] == ["numpy-loop@python", "numpy-loop@python3"]


def test_a_file_says_which_python_runs_what(tmp_path):
    """Also what is not named: peers, and all kinds of layers."""
    one, two = python_of(tmp_path / "one"), python_of(tmp_path / "two")
    told = tmp_path / "pythons.txt"
    told.write_text(f"# of ours\ntorch-cell = one/bin/python\n\nnumpy-loop={two}  # a remark\n")
    pythons = interpreters.read(told)
    assert pythons == {"torch-cell": str(one), "numpy-loop": str(two)}
    found = resolve_all(["numpy-loop", f"numpy-loop@{one}"], True, ("rnn", "gru"), pythons)
    names = [spec.name for spec in found if spec.python]
    of_rnn = ["numpy-loop@two", "numpy-loop@one", "torch-cell@one"]
    assert names == of_rnn + [f"{name} (gru)" for name in of_rnn]
    for line, why in [("numpy-loop", "line 1: expected"), ("a = nowhere", "no Python 'nowhere'")]:
        told.write_text(line)
        with pytest.raises(UsageError, match=why):
            interpreters.read(told)
    with pytest.raises(UsageError, match="no implementation 'numpy-lop'"):
        resolve_all([], pythons={"numpy-lop": str(one)})


def test_a_file_with_an_at_in_its_name_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my@port.py").write_text(PORT)
    assert interpreters.parted("my@port.py") == ("my@port.py", "")
    own = python_of(tmp_path / "env")
    assert interpreters.parted("my@port.py@env") == ("my@port.py", str(own))


def test_a_run_is_gone_on_with_by_the_same_python_and_no_other(other, tmp_path):
    options = {"cases": CASES[:2], "out": tmp_path / "run"}
    rnnparity.check(f"numpy-loop@{other}", **options)
    again = rnnparity.check(f"numpy-loop@{other}", **options, resume=True)
    assert again.notes == []
    moved = environments.beside(tmp_path / "other", *elsewhere.NEEDED)
    run = rnnparity.check(f"numpy-loop@{moved}", **options, resume=True)
    assert run.notes == [
        "numpy-loop@other has changed since: 2 records from before no longer count"
    ]


def test_it_is_checked_and_not_timed(other, tmp_path):
    options = {"size": ["3,2,2,3"], "processes": 1, "budget": 0.01, "out": tmp_path / "run"}
    run = rnnparity.bench(f"numpy-loop@{other}", **options)
    found = {one.verdict: one.reason for one in run.timings if "@" in one.implementation}
    assert found == {"unsupported": "needs a Python of its own, and all take turns in one"}


def test_what_is_sent_means_the_same_to_every_python(tmp_path):
    """No class of another package, and nothing that only newer Pythons read."""
    (tmp_path / "port.py").write_text(PORT)
    (spec,) = resolve_all([str(tmp_path / "port.py")])
    packed = parcels.pack((spec, Settings(), *CASES, "cpu", 1, True), {})
    strings, modules = [], set()
    for code, argument, _ in pickletools.genops(packed.data):
        assert code.proto <= parcels.PROTOCOL, code.name
        strings += [argument] if "UNICODE" in code.name else []
        modules |= {strings[-2]} if code.name == "STACK_GLOBAL" else set()
    fields = {*spec.__struct_fields__}  # one of which is called as a package is
    named = {name.partition(".")[0] for name in strings if name in sys.modules}
    assert named - fields == {"rnnparity"}
    assert modules


def test_expected_failures_are_also_those_of_another_python(other, tmp_path):
    record = rnnparity.check(f"numpy-loop@{other}", cases=CASES[:1], out=tmp_path / "run").records[
        0
    ]
    of = {
        name: Expected(f"{name}-cpu-*", "").is_of(record)
        for name in ("numpy-loop", "numpy-loop@other", "numpy-loop@another", "torch-loop")
    }
    assert of == {
        "numpy-loop": True,
        "numpy-loop@other": True,
        "numpy-loop@another": False,
        "torch-loop": False,
    }
