"""The command line as its users meet it: a process of its own, in an empty folder."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import broken_implementations
import msgspec
import numpy as np
import pytest
from rich.console import Console

from rnnparity.cells.config import RNNConfig, parameter_shapes
from rnnparity.problems import sizes, weights
from rnnparity.problems.presets import PRESETS
from rnnparity.records.check import Record
from rnnparity.report import listing
from rnnparity.runs.work import Description


def rnnparity(*arguments, cwd, timeout=300):
    return subprocess.run(
        [sys.executable, "-m", "rnnparity", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=timeout,
    )


def _timeless(line):
    """Return a record without the time that it took."""
    return json.dumps(json.loads(line) | {"seconds": None}, sort_keys=True)


def _records(folder):
    (run,) = (folder / "results").iterdir()
    return [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]


def test_check_of_one_implementation_passes_and_leaves_records(tmp_path):
    done = rnnparity("check", "numpy-loop", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "pass" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr  # no colours where there is no terminal
    records = _records(tmp_path)
    assert {record["verdict"] for record in records} == {"pass"}
    for record in records:
        msgspec.convert(record, Record)
        assert record["quantities"]["output"]["max_abs_error"] >= 0
    (run,) = (tmp_path / "results").iterdir()
    environment = json.loads((run / "environment.json").read_text())
    assert environment["command"] == "rnnparity check numpy-loop"
    assert environment["cpu_model"]
    assert environment["settings"] == {
        "threads": 1,
        "matmul_precision": "float32",
        "tanh_absolute": 0.0,
        "memory": 0,
    }
    assert environment["frameworks"]["numpy"]["blas_threads"] == "1"


def test_json_is_one_document(tmp_path):
    done = rnnparity("check", "numpy-loop", "--dtype", "float64", "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert document.keys() == {"environment", "records"}
    assert {record["dtype"] for record in document["records"]} == {"float64"}


def test_list_says_why_there_is_no_device_and_what_presets_are(capsys):
    found = {
        "here": Description(framework="numpy", devices=("cpu",), dtypes=("float64",)),
        "elsewhere": Description(framework="torch", runs_on=("cuda",), dtypes=("float64",)),
    }
    listing.show(found, Console(width=100))
    text = capsys.readouterr().out
    assert "cuda: none here" in text
    assert text.count("none here") == 1
    for meaning in (PRESETS["edges"], sizes.PRESETS["streaming"][0]):
        assert meaning in text


def test_every_broken_implementation_is_one_line_and_the_others_still_report(tmp_path):
    for name in broken_implementations.WRONG:
        broken_implementations.write(tmp_path, name)
    files = [f"{name}.py" for name in broken_implementations.WRONG]
    weights.write(tmp_path / "w.safetensors", _small_weights())
    arguments = ("--weights", "w.safetensors", "--timeout", "20", "--json")
    done = rnnparity("check", "numpy-loop", *files, *arguments, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    records = json.loads(done.stdout)["records"]
    for name, (_, verdict, reason) in broken_implementations.WRONG.items():
        own = [record for record in records if record["implementation"] == name]
        verdicts = {record["verdict"] for record in own}
        assert verdict in verdicts, (name, own)
        assert verdict == "pass" or not verdicts & {"error", "fail"} - {verdict}, (name, own)
        assert any(reason in record["reason"] for record in own), (name, own)
        assert not any("\n" in record["reason"] for record in own)
    others = [record for record in records if record["implementation"] == "numpy-loop"]
    assert {record["verdict"] for record in others} == {"pass"}


def test_a_broken_implementation_is_shown_in_one_line(tmp_path):
    broken_implementations.write(tmp_path, "raises")
    done = rnnparity("check", "raises.py", "--dtype", "float32", cwd=tmp_path)
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if "no such thing" in line]
    assert len(lines) == 1
    assert "raises error: raises ValueError: no such thing (raises.py:" in lines[0]


def _small_weights(config=None):
    import numpy as np

    rng = np.random.default_rng(0)
    shapes = parameter_shapes(config or RNNConfig(input_size=3, hidden_size=4))
    return {name: rng.normal(size=shape).astype("f4") / 2 for name, shape in shapes.items()}


def test_own_weights_are_checked_and_kept_with_the_run(tmp_path):
    weights.write(tmp_path / "mine.safetensors", _small_weights())
    done = rnnparity("check", "numpy-loop", "--weights", "mine.safetensors", cwd=tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    (kept,) = tmp_path.glob("results/*/weights-*.safetensors")
    given = tmp_path / "mine.safetensors"
    assert weights.read(kept).keys() == weights.read(given).keys()


def test_a_pt_file_is_read_in_a_worker(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.save(torch.nn.RNN(3, 4).state_dict(), tmp_path / "mine.pt")
    done = rnnparity("check", "numpy-loop", "--weights", "mine.pt", cwd=tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    torch.save(torch.nn.LSTM(3, 4).state_dict(), tmp_path / "lstm.pt")
    done = rnnparity("check", "numpy-loop", "--weights", "lstm.pt", cwd=tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    done = rnnparity("check", "numpy-loop", "--weights", "lstm.pt", "--cell", "gru", cwd=tmp_path)
    assert done.returncode == 2
    assert "an LSTM's, but a GRU was asked for" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "numpy-lop"], "no implementation 'numpy-lop'"),
        (["check", "nowhere.py"], "no Python file nowhere.py"),
        (["check", "--preset", "quik"], "no preset 'quik'"),
        (["check", "--dtype", "float8"], "no dtype 'float8'"),
        (["check", "--cell", "elman"], "no cell 'elman': there are rnn, gru, lstm, all"),
        (["check", "--threads", "0"], "threads is 0"),
        (["check", "--timeout", "-1"], "timeout is -1"),
        (["check", "--memory", "4"], "memory is '4', expected a size with its unit, as 4GB"),
        (["check", "--device", "gpu"], "device is 'gpu', expected cpu, cuda, cuda:1 or mps"),
        (["check", "--matmul-precision", "half"], "matmul precision is 'half'"),
        (["check", "--weights", "none.safetensors"], "no file none.safetensors"),
        (["check", "numpy-loop", "--device", "cuda"], "no device cuda here"),
        (["check", "--resume"], "--resume needs --out"),
        (["check", "--out", "/proc/nowhere/run"], "cannot be written to"),
        (["check", "--no-such-option"], "No such option"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(tmp_path, arguments, message):
    done = rnnparity(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_resume_goes_on_and_an_occupied_folder_is_refused(tmp_path):
    arguments = ("check", "numpy-loop", "--dtype", "float64", "--out", "run")
    assert rnnparity(*arguments, cwd=tmp_path).returncode == 0
    path = tmp_path / "run" / "records.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + lines[2][:40])  # as if it had been killed while writing
    refused = rnnparity(*arguments, cwd=tmp_path)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    resumed = rnnparity(*arguments, "--resume", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert path.read_text().splitlines(keepends=True)[:2] == lines[:2]
    again = sorted(map(_timeless, path.read_text().splitlines()))
    assert again == sorted(map(_timeless, lines))
    other = rnnparity(*arguments, "--resume", "--threads", "2", cwd=tmp_path)
    assert other.returncode == 2
    assert "another threads" in other.stderr


def test_other_weights_are_not_taken_for_those_of_the_run_that_is_resumed(tmp_path):
    arguments = ("check", "numpy-loop", "--weights", "w.safetensors", "--out", "run")
    given = _small_weights()
    weights.write(tmp_path / "w.safetensors", given)
    assert rnnparity(*arguments, cwd=tmp_path).returncode == 0
    count = (tmp_path / "run" / "records.jsonl").read_text().count("\n")
    weights.write(tmp_path / "w.safetensors", {k: 2 * v for k, v in given.items()})
    assert rnnparity(*arguments, "--resume", cwd=tmp_path).returncode == 0
    assert (tmp_path / "run" / "records.jsonl").read_text().count("\n") == 2 * count


def test_another_file_of_the_same_name_is_not_taken_for_the_one_that_passed(tmp_path):
    """Nor what it imports; what others have done stays as it is."""
    path = broken_implementations.write(tmp_path, "own_type")
    (tmp_path / "beside.py").write_text("")
    path.write_text("import beside\n" + path.read_text())
    arguments = ("check", "own_type.py", "numpy-loop", "--dtype", "float64", "--out", "run")
    assert rnnparity(*arguments, cwd=tmp_path).returncode == 0
    records = tmp_path / "run" / "records.jsonl"
    first = records.read_text().splitlines()
    for changed in (path, tmp_path / "beside.py"):
        changed.write_text(changed.read_text() + "# changed\n")
        resumed = rnnparity(*arguments, "--resume", cwd=tmp_path)
        assert resumed.returncode == 0, resumed.stderr
        assert "own_type has changed since: 9 records" in resumed.stderr
        again = records.read_text().splitlines()
        assert sorted(map(_timeless, again)) == sorted(map(_timeless, first))
        same = {json.loads(line)["implementation"] for line in set(first) & set(again)}
        assert same == {"numpy-loop"}
        first = again
    resumed = rnnparity(*arguments, "--resume", cwd=tmp_path)
    assert "has changed" not in resumed.stderr
    assert records.read_text().splitlines() == first


# As in a terminal, even if the tests run in the background, where the signal is ignored.
HEARING_CTRL_C = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('rnnparity', run_name='__main__')"
)


def _interrupted(folder, arguments, ready, receiver=lambda pid: pid):
    """Run a command, and send Ctrl-C once it is ready; return what it wrote."""
    command = [sys.executable, "-c", HEARING_CTRL_C, *arguments]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            waited = time.monotonic()
            while not ready():
                assert time.monotonic() - waited < 120
                time.sleep(0.1)
            os.kill(receiver(process.pid), signal.SIGINT)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in errors
    return output


def _other_thread(pid):
    return min({int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()} - {pid})


@pytest.mark.parametrize("thread", ["main", "other"])
def test_ctrl_c_leaves_the_records_made_so_far(tmp_path, thread):
    """The kernel may hand the signal to any thread, here to the one named: all must do."""
    if thread == "other" and not Path("/proc/self/task").exists():
        pytest.skip("needs Linux, where a signal can be sent to one thread")
    broken_implementations.write(tmp_path, "hangs")
    records = tmp_path / "run" / "records.jsonl"

    def ready():
        return records.exists() and records.read_text().count("\n") >= 3

    to = {"receiver": _other_thread} if thread == "other" else {}
    arguments = ("check", "numpy-loop", "hangs.py", "--out", "run")
    assert "--resume --out run" in _interrupted(tmp_path, arguments, ready, **to)
    assert ready()


def test_ctrl_c_is_heard_while_timing_processes_import(tmp_path):
    """They import two at a time, in threads that would otherwise be waited for."""
    path = broken_implementations.write(tmp_path, "own_type")
    path.write_text(
        "import pathlib, sys, time\n"
        "if 'rnnparity.timing.turns' in sys.modules:\n"
        "    pathlib.Path(__file__).with_name('importing').touch()\n"
        "    time.sleep(1e6)\n" + path.read_text()
    )
    arguments = ("bench", "own_type.py", "--preset", "notebook", "--out", "run")
    output = _interrupted(tmp_path, arguments, (tmp_path / "importing").exists)
    assert "--resume --out run" in output


def test_help_is_fast(tmp_path):
    # A ratio, not a time limit: help may cost a few interpreter starts, never a framework's import.
    def seconds(*command):
        started = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True, cwd=tmp_path)
        return time.perf_counter() - started

    bare = min(seconds("-c", "import typer") for _ in range(5))
    help_ = min(seconds("-m", "rnnparity", "--help") for _ in range(5))
    assert help_ < 4 * bare


@pytest.mark.parametrize("words", [("-h",), ("check", "-h"), ("--help",)])
def test_help_is_short_and_long(tmp_path, words):
    done = rnnparity(*words, cwd=tmp_path)
    assert done.returncode == 0
    assert "Usage:" in done.stdout


def test_the_version_is_told(tmp_path):
    from importlib.metadata import version

    done = rnnparity("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"rnnparity {version('rnnparity')}\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("check", "numpy-lop"), "did you mean numpy-loop?"),
        (("check", "--preset", "quik"), "did you mean quick?"),
        (("check", "--preset", ""), "what stands behind --preset is empty"),
        (("check", "--dtype", "float23"), "did you mean float32?"),
        (("bench", "--preset", "streeming"), "did you mean streaming?"),
        (("bench", "--size", "5,4,5"), "expected T,B,I,H, each 1 or more"),
        (("bench", "--size", "5,4"), "only weights tell I and H"),
        (("bench", "--size", "5,4,0,3"), "expected T,B,I,H, each 1 or more"),
        (("run", "--preset", "cpu", "--size", "5,4,5,3"), "preset cpu and sizes or weights"),
        (("check", "--preset", "full", "--weights", "w.safetensors"), "preset full and weights"),
        (("check", "--xfail", "none.txt"), "--xfail none.txt cannot be read"),
        (("new", "my.py", "--framework", "toch"), "did you mean torch?"),
        (("bench", "--size", "9" * 5000), "expected T,B,I,H"),
        (("bench", "--processes", "9" * 20), "expected 64 at most"),
        (("check", "--threads", "9" * 5000), "expected a number of 1 or more, or all"),
        (("check", "--out", "."), "--out is no folder's name"),
        (("check", "--out", ""), "what stands behind --out is empty: give a value"),
        (("check", "--onnx-backend", ""), "what stands behind --onnx-backend is empty"),
        (("scoreboard", "--out="), "what stands behind --out is empty"),
        (("report", ""), "what stands behind report is empty"),
        (("check", "--out", "n" * 5000), "name too long"),
        (("report", "n" * 5000), "name too long"),
        (("check", "n" * 5000 + ".py"), "name too long"),
        (("check", "--weights", "n" * 5000), "name too long"),
        (("judge", "--weights", "w", "--input", "n" * 5000, "--output", "y"), "no file"),
        (("check", "numpy-loop", "--lengths", "9" * 5000, "--weights", "w"), "name too long"),
        (("check", "\udcff.py"), "no Python file"),
        (("export", "n" * 5000 + ".onnx", "--weights", "w"), "no file w"),
        (("check", "--memory", "0GB"), "expected a size with its unit"),
        (("run", "--memory", "9" * 5000 + "GB"), "expected a size with its unit"),
        (("judge", "--memory", "1e3GB", "--weights", "w", "--input", "x"), "expected a size"),
        (("check", "--timeout", "x\n\x1b[2Jy"), "'--timeout': Input should be a valid number"),
        (("compare", "a"), "Missing argument 'B' (python -m rnnparity compare -h tells more)"),
        (("check", "--no-such-option"), "No such option: --no-such-option"),
        (("check", "--xfail", "a\nb\u202ec"), "--xfail a b\\u202ec cannot be read"),
        (("bench", "--processes", "9" * 400), "expected 64 at most"),
        (("check", "numpy-loop", "--weights", "/dev/zero"), "/dev/zero is no regular file"),
        (("judge", "--weights", "/dev/null", "--input", "x"), "/dev/null is no regular file"),
    ],
)
def test_a_slip_is_told_in_one_line(tmp_path, words, told):
    done = rnnparity(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert told in done.stderr.replace("File name", "name")
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) < 500
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no named pipes")
def test_what_has_no_end_is_not_read(tmp_path):
    """A pipe into which nobody writes, or a device: reading it would take for ever."""
    os.mkfifo(tmp_path / "pipe.npz")
    os.mkfifo(tmp_path / "pipe.onnx")
    weights.write(tmp_path / "w.safetensors", _small_weights())
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "records.jsonl").symlink_to("/dev/zero")
    for words in (
        ("check", "numpy-loop", "--weights", "pipe.npz"),
        ("check", "numpy-loop", "--weights", "w.safetensors", "--input", "pipe.npz"),
        ("check", "numpy-loop", "--xfail", "pipe.npz"),
        ("judge", "--weights", "w.safetensors", "--input", "pipe.npz", "--output", "y.npy"),
        ("export", "pipe.onnx", "--weights", "w.safetensors"),
        ("report", "run"),
        ("compare", "run", "run"),
    ):
        done = rnnparity(*words, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "is no regular file" in done.stderr


def test_what_is_refused_leaves_no_folder(tmp_path):
    """The weights are kept with the run before the input is found to be none of theirs."""
    weights.write(tmp_path / "w.safetensors", _small_weights())
    np.save(tmp_path / "x.npy", np.ones((5, 2, 99), "f4"))
    for words in (
        ("check", "numpy-loop", "--input", "x.npy"),
        ("check", "numpy-loop", "--input", "x.npy", "--out", "new/run"),
        ("judge", "--input", "x.npy", "--output", "x.npy"),
    ):
        done = rnnparity(*words, "--weights", "w.safetensors", cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert {path.name for path in tmp_path.iterdir()} == {"w.safetensors", "x.npy"}


def test_check_writes_a_report_where_it_is_asked_for(tmp_path):
    case = "float32-torch-init-T12-B4-I8-H16"
    words = ("check", "numpy-loop", "--case", case, "--out", "run")
    done = rnnparity(*words, "--report", "--junit", "found.xml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.html").is_file()
    assert 'tests="1"' in (tmp_path / "found.xml").read_text()
    done = rnnparity(*words, "--resume", "--junit", "no/such/folder.xml", cwd=tmp_path)
    assert done.returncode == 2
    assert "no/such/folder.xml cannot be written" in done.stderr


def test_own_sizes_and_weights_are_timed(tmp_path):
    config = RNNConfig(input_size=3, hidden_size=4, num_layers=2)
    rng = np.random.default_rng(0)
    parameters = {n: rng.normal(size=s).astype("f4") for n, s in parameter_shapes(config).items()}
    weights.write(tmp_path / "w.safetensors", parameters)
    few = ("--budget", "0.01", "--processes", "1", "--json")
    own = ("--weights", "w.safetensors", "--size", "6,2", "--size", "5,2,3,4")
    done = rnnparity("bench", "numpy-loop", *own, *few, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    records = json.loads(done.stdout)["records"]
    timed = [r for r in records if r["implementation"] == "numpy-loop" and "median" in r]
    assert {r["mode"] for r in timed} == {"forward", "gradients"}
    definitions = [one["definition"] for one in timed]
    sizes = {(d["T"], d["B"], d["config"].get("num_layers", 1)) for d in definitions}
    assert sizes == {(6, 2, 2), (5, 2, 2)}
