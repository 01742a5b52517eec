"""Six people, each in an empty folder: what they do first, and what they are told.

Those marked `install` have the wheel and its own extras, and no framework but NumPy.
"""

import json
import subprocess
import sys
import textwrap
from xml.etree import ElementTree

import numpy as np
import pytest
from environments import installed

from rnnparity.cells.config import RNNConfig, parameter_shapes
from rnnparity.problems import weights

RNN = RNNConfig(input_size=4, hidden_size=6, num_layers=2)
RELU = 'np.tanh(a) if nonlinearity == "tanh" else np.maximum(a, 0)'


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """An interpreter with the wheel, its command line, report and timing."""
    return installed(tmp_path_factory.mktemp("walks"), f"{wheel}[cli,report,bench]")


def _does(python, folder, *words):
    command = [python, "-m", "rnnparity", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def _weights(folder):
    rng = np.random.default_rng(0)
    shapes = parameter_shapes(RNN)
    parameters = {n: rng.normal(scale=0.4, size=s).astype("f4") for n, s in shapes.items()}
    weights.write(folder / "w.safetensors", parameters)
    return parameters


def _by_hand(parameters, x, transposed=False):
    """A port, in plain float32: x [T, B, I] -> output, h_n."""
    h_n = []
    for k in range(RNN.num_layers):
        w_ih, w_hh, b_ih, b_hh = (
            parameters[f"{n}_l{k}"] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        h, states = np.zeros((x.shape[1], RNN.hidden_size), "f4"), []
        for x_t in x:
            h = np.tanh(x_t @ w_ih.T + b_ih + h @ (w_hh if transposed else w_hh.T) + b_hh)
            states.append(h)
        x = np.stack(states)
        h_n.append(h)
    return x, np.stack(h_n)


@pytest.mark.install
def test_a_newcomer(python, tmp_path):
    done = _does(python, tmp_path, "-h")
    assert "check" in done.stdout
    assert "numpy-loop" in _does(python, tmp_path, "list").stdout
    assert _does(python, tmp_path, "new", "mine.py").returncode == 0
    done = _does(python, tmp_path, "check", "mine.py")
    assert done.returncode == 0, done.stdout + done.stderr
    mine = tmp_path / "mine.py"
    mine.write_text(mine.read_text().replace("weight_hh.T", "weight_hh"))
    done = _does(python, tmp_path, "check", "mine.py", "--dtype", "float32", "--report")
    assert done.returncode == 1
    assert "equals the recurrence with weight_hh transposed" in done.stdout
    (page,) = tmp_path.glob("results/*/report.html")
    assert "weight_hh transposed" in page.read_text()


@pytest.mark.install
def test_a_port_in_another_language(python, tmp_path):
    parameters = _weights(tmp_path)
    x = np.random.default_rng(1).normal(size=(7, 3, 4)).astype("f4")
    np.save(tmp_path / "x.npy", x)
    asked = ("judge", "--weights", "w.safetensors", "--input", "x.npy", "--output")
    output, h_n = _by_hand(parameters, x)
    np.savetxt(tmp_path / "y.csv", output.reshape(21, 6), fmt="%.7g", delimiter=",")
    np.save(tmp_path / "h.npy", h_n)
    done = _does(python, tmp_path, *asked, "y.csv", "--h-n", "h.npy")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "T = 7 steps, B = 3 sequences" in done.stdout
    np.save(tmp_path / "wrong.npy", _by_hand(parameters, x, transposed=True)[0])
    done = _does(python, tmp_path, *asked, "wrong.npy")
    assert done.returncode == 1
    assert "equals the recurrence with weight_hh transposed" in done.stdout
    np.save(tmp_path / "turned.npy", output.swapaxes(0, 1))
    done = _does(python, tmp_path, *asked, "turned.npy")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "transpose it" in done.stderr


@pytest.mark.install
def test_the_author_of_a_pull_request(python, tmp_path):
    _weights(tmp_path)
    asked = ("check", "numpy-loop", "--weights", "w.safetensors", "--report", "--out", "run")
    done = _does(python, tmp_path, *asked)
    assert done.returncode == 0, done.stdout + done.stderr
    markdown = (tmp_path / "run" / "report.md").read_text()
    assert "numpy-loop" in markdown
    assert "7/7 pass" in markdown
    assert str(tmp_path) not in markdown


@pytest.mark.install
def test_the_ci_of_a_kernel(python, tmp_path):
    assert _does(python, tmp_path, "new", "kernel.py").returncode == 0
    kernel = tmp_path / "kernel.py"
    right = kernel.read_text()
    assert RELU in right
    kernel.write_text(right.replace("np.maximum(a, 0)", "np.maximum(a, 0.01)"))
    asked = ("check", "kernel.py", "--dtype", "float32", "--junit", "found.xml", "--json", "--out")
    done = _does(python, tmp_path, *asked, "one")
    assert done.returncode == 1
    records = json.loads(done.stdout)["records"]
    wrong = [r for r in records if r["verdict"] == "fail"]
    (suite,) = ElementTree.parse(tmp_path / "found.xml").getroot()
    assert int(suite.get("failures")) == len(wrong) > 0
    assert int(suite.get("tests")) == len(records)
    (tmp_path / "known.txt").write_text("kernel-cpu-*-relu-*: leaks below zero\n")
    done = _does(python, tmp_path, *asked, "two", "--xfail", "known.txt")
    assert done.returncode == 0, done.stderr
    (suite,) = ElementTree.parse(tmp_path / "found.xml").getroot()
    assert (suite.get("failures"), int(suite.get("skipped"))) == ("0", len(wrong))
    kernel.write_text(right)
    done = _does(python, tmp_path, *asked, "three", "--xfail", "known.txt")
    assert done.returncode == 1  # the line is outdated
    assert json.loads(done.stdout)["environment"]["outdated"] == ["kernel-cpu-*-relu-*"]


@pytest.mark.install
def test_two_versions_of_one_framework(python, wheel, tmp_path):
    (tmp_path / "other").mkdir()
    other = installed(tmp_path / "other", f"{wheel}[cli,report,bench]", "numpy<2.4")
    timed = ("bench", "numpy-loop", "--size", "20,1,16,16", "--processes", "3", "--budget", "0.1")
    for name, one in (("new", python), ("old", other)):
        done = _does(one, tmp_path, *timed, "--out", name)
        assert done.returncode == 0, done.stderr
    done = _does(python, tmp_path, "compare", "old", "new")
    assert done.returncode in (0, 1), done.stderr  # which is faster is the machine's to say
    assert "numpy 2.3" in done.stdout
    assert "became 2." in done.stdout
    assert "control" in done.stdout  # there is no other baseline
    done = _does(python, tmp_path, "report", "old", "new", "--out", "trend")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "trend" / "trend.html").read_text()
    assert "numpy 2.3" in page
    slow = """
        import time
        from recurrences.elman import numpy_loop

        framework, gradients, prepare = "numpy", False, numpy_loop.prepare

        def layer(*arguments):
            time.sleep(WAIT)
            return numpy_loop.layer(*arguments)
    """
    for name, wait in (("fast", "0.0001"), ("slow", "0.0005")):
        (tmp_path / "mine.py").write_text(textwrap.dedent(slow).replace("WAIT", wait))
        done = _does(python, tmp_path, timed[0], "mine.py", *timed[2:], "--out", name)
        assert done.returncode == 0, done.stderr
    done = _does(python, tmp_path, "compare", "fast", "slow")
    assert done.returncode == 1, done.stdout
    assert "slower" in done.stdout


def test_the_test_suite_of_a_library(tmp_path):
    """Tests before and after one that asserts see the same global state of the frameworks."""
    for framework in ("torch", "jax"):
        pytest.importorskip(framework, reason=f"{framework} is not installed")
    state = """
        import jax, numpy as np, torch

        def state():
            return (
                torch.get_num_threads(), torch.get_float32_matmul_precision(),
                torch.backends.cudnn.allow_tf32, torch.is_grad_enabled(),
                jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision,
                str(jax.numpy.ones(2).dtype), tuple(sorted(np.geterr().items())),
            )

        FIRST = state()
    """
    tests = """
        import jax, numpy as np, pytest, torch
        import recurrences.lstm.jax_scan as ours
        from rnnparity import assert_outputs, assert_parity
        from states import FIRST, state

        def test_before():
            assert state() == FIRST

        @pytest.mark.parametrize("module", [torch.nn.RNN(3, 4), torch.nn.LSTM(3, 4, 2)])
        def test_parity(module):
            x = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0))
            assert_parity(module, module, x)
            with torch.no_grad():
                assert_outputs(module(x)[0], weights=module, x=x)

        def test_of_jax():
            assert_parity(ours, weights=torch.nn.LSTM(3, 4))

        def test_after():
            assert state() == FIRST
    """
    (tmp_path / "states.py").write_text(textwrap.dedent(state))
    (tmp_path / "test_ours.py").write_text(textwrap.dedent(tests))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "test_ours.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout
