"""What users bring: an implementation, tests, weights, inputs."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import loaded

import rnnparity
from rnnparity import UsageError, assert_parity
from rnnparity.cells.config import RNNConfig, parameter_shapes
from rnnparity.problems import weights

FRAMEWORKS = ("numpy", "jax", "torch")


def _parameters(config=None):
    rng = np.random.default_rng(0)
    shapes = parameter_shapes(config or RNNConfig(input_size=3, hidden_size=4))
    return {name: rng.normal(size=shape).astype("f4") / 2 for name, shape in shapes.items()}


def run(*command, cwd):
    return subprocess.run(
        [sys.executable, "-m", *map(str, command)], capture_output=True, text=True, cwd=cwd
    )


def conformance(*arguments, cwd):
    return run(
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--pyargs",
        "rnnparity.conformance",
        *arguments,
        cwd=cwd,
    )


@pytest.fixture(params=FRAMEWORKS)
def starter(request, tmp_path):
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    done = run("rnnparity", "new", "my_rnn.py", "--framework", request.param, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path / "my_rnn.py"


OWN_TEST = """
import numpy as np
import my_rnn
from rnnparity import assert_parity
def test_mine():
    assert_parity(my_rnn, weights="w.safetensors", x=np.ones((7, 2, 3)))
"""


def test_a_starter_passes_everything_and_is_failed_by_name_once_it_is_wrong(starter):
    folder = starter.parent
    weights.write(folder / "w.safetensors", _parameters())
    (folder / "test_own.py").write_text(OWN_TEST)
    some = ("-k", "float32-torch-init-T12-B4-I8-H16 or float64-critical-bi")

    def all_three():
        return (
            run("rnnparity", "check", "my_rnn.py", "--weights", "w.safetensors", cwd=folder),
            conformance("--rnn-impl", "my_rnn.py", *some, cwd=folder),
            run("pytest", "-q", "-p", "no:cacheprovider", "test_own.py", cwd=folder),
        )

    for done in all_three():
        assert done.returncode == 0, done.stdout + done.stderr
    starter.write_text(starter.read_text().replace("weight_hh.T", "weight_hh"))
    for done in all_three():
        assert done.returncode == 1
        assert "equals the recurrence with weight_hh transposed" in done.stdout


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(
    ("kind", "right", "wrong", "named"),
    [
        ("gru", "r, z = ", "z, r = ", "gates in the order z r n"),
        ("lstm", "i, f, g, o = ", "i, o, f, g = ", "gates in the order i o f g"),
    ],
)
def test_a_gated_starter_passes_and_is_failed_by_name_once_it_is_wrong(
    tmp_path, framework, kind, right, wrong, named
):
    """Own weights tell which kind is meant, and so does the file."""
    pytest.importorskip(framework, reason=f"{framework} is not installed")
    made = ("new", "mine.py", "--framework", framework, "--cell", kind)
    assert run("rnnparity", *made, cwd=tmp_path).returncode == 0
    config = RNNConfig(input_size=3, hidden_size=4, kind=kind, bidirectional=True)
    weights.write(tmp_path / "w.safetensors", _parameters(config))
    path, checked = tmp_path / "mine.py", ("check", "mine.py", "--weights", "w.safetensors")
    done = run("rnnparity", *checked, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    text = path.read_text()
    assert text.count(right) == 1
    path.write_text(text.replace(right, wrong))
    done = run("rnnparity", *checked, cwd=tmp_path)
    assert done.returncode == 1
    assert f"equals the recurrence with {named}" in done.stdout


def test_new_refuses_what_it_cannot_write(tmp_path):
    (tmp_path / "my_rnn.py").write_text("mine")
    for arguments, message in (
        (["my_rnn.py"], "is there already"),
        (["other.txt"], "expected one that ends in .py"),
        (["other.py", "--framework", "mxnet"], "no framework 'mxnet'"),
        (["other.py", "--cell", "all"], "no cell 'all': there are rnn, gru, lstm"),
        (["no/folder/other.py"], "cannot be written"),
    ):
        done = run("rnnparity", "new", *arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    assert (tmp_path / "my_rnn.py").read_text() == "mine"


BROKEN = """
import numpy as np
framework = "numpy"
def layer(x, h0, cell, nonlinearity):
    h, output = h0, []
    for x_t in x:
        a = x_t @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh
        h = np.tanh(a)
        output.append(h)
    return np.stack(output), h
"""


def test_expected_failures_are_strict_and_have_reasons(tmp_path):
    (tmp_path / "tanh_only.py").write_text(BROKEN)
    some = "float32-torch-init-T12 or float32-torch-init-relu"
    arguments = ("--rnn-impl", "tanh_only.py", "-k", some)
    assert conformance(*arguments, cwd=tmp_path).returncode == 1
    expected = tmp_path / "expected.txt"
    for text, code, message in (
        ("*-relu-*: ignores nonlinearity", 0, "xfailed"),
        ("*: everything", 1, "XPASS(strict)"),
        ("*-relu-*", 4, "expected `id pattern: reason`"),
        ("*-relu-*: known\n*-gru-*: no such test", 4, "line 2: *-gru-* matches no test"),
    ):
        expected.write_text(text + "\n")
        done = conformance(*arguments, "--rnn-xfail", "expected.txt", cwd=tmp_path)
        assert done.returncode == code, done.stdout + done.stderr
        assert message in done.stdout + done.stderr


def test_assert_parity_takes_functions_and_says_what_is_wrong():
    implementation, _ = loaded("numpy-loop")
    config = RNNConfig(input_size=3, hidden_size=4, num_layers=2, bidirectional=True)
    parameters = _parameters(config)
    assert_parity(implementation.layer, weights=parameters)
    x, lengths = np.ones((6, 3, 3)), [6, 1, 4]
    assert_parity(implementation.layer, weights=parameters, x=x, lengths=lengths)
    assert_parity(implementation.layer, weights=parameters, x=x, h0=np.ones((4, 3, 4)))

    def wrong(x, h0, cell, nonlinearity):
        prepared = implementation.prepare(cell, nonlinearity)
        return implementation.layer(x, 0 * h0, prepared, nonlinearity)

    assert_parity(wrong, weights=parameters, x=x, framework="numpy")  # h0 is zero here
    with pytest.raises(AssertionError, match="equals the recurrence with h0 ignored") as raised:
        assert_parity(wrong, weights=parameters, x=x, h0=np.ones((4, 3, 4)), framework="numpy")
    assert "units, at most" in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": np.ones((6, 3, 5))}, "x has shape"),
        ({"x": np.full((6, 3, 3), np.nan)}, "not finite"),
        ({"x": np.ones((6, 3, 3)), "lengths": [7, 1, 1]}, "expected 1 to T = 6"),
        ({"x": np.ones((6, 3, 3)), "lengths": [1, 1]}, "one integer per sequence"),
        ({"x": np.ones((6, 3, 3)), "h0": np.ones((2, 3, 4))}, "h0 has shape"),
        ({"h0": np.ones((1, 3, 4))}, "without x"),
    ],
)
def test_assert_parity_refuses_inputs_that_do_not_fit(arguments, message):
    implementation, _ = loaded("numpy-loop")
    with pytest.raises(UsageError, match=message):
        assert_parity(implementation.layer, weights=_parameters(), **arguments)


def test_own_input_from_the_command_line(tmp_path):
    weights.write(tmp_path / "w.safetensors", _parameters())
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(9, 3, 3)))
    arguments = ("check", "numpy-loop", "--weights", "w.safetensors", "--input", "x.npy")
    done = run("rnnparity", *arguments, "--lengths", "9,2,5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for bad, message in (("9,2", "one integer per sequence"), ("9,2,x", "expected 5,3,8")):
        done = run("rnnparity", *arguments, "--lengths", bad, cwd=tmp_path)
        assert done.returncode == 2
        assert message in done.stderr
    done = run("rnnparity", "check", "numpy-loop", "--input", "x.npy", cwd=tmp_path)
    assert done.returncode == 2
    assert "go with weights" in done.stderr


def test_an_rnn_among_other_layers_is_found_or_asked_for():
    inner = {f"encoder.rnn.{name}": value for name, value in _parameters().items()}
    found = weights.read(inner | {"fc.weight": np.ones((2, 4), "f4"), "epoch": 3})
    assert found.keys() == _parameters().keys()
    assert weights.read({"state_dict": inner, "epoch": 3}).keys() == found.keys()
    two = inner | {f"decoder.{name}": 2 * value for name, value in _parameters().items()}
    with pytest.raises(UsageError, match=r"prefix=, one of encoder\.rnn, decoder"):
        weights.read(two)
    chosen = weights.read(two, "decoder")
    assert np.array_equal(chosen["weight_hh_l0"], 2 * _parameters()["weight_hh_l0"])
    with pytest.raises(UsageError, match="no RNN under the prefix 'nowhere'"):
        weights.read(two, "nowhere")
    lstm = {
        "lstm.weight_ih_l0": np.ones((16, 3), "f4"),
        "lstm.weight_hh_l0": np.ones((16, 4), "f4"),
    }
    with pytest.raises(UsageError, match=r"encoder\.rnn, lstm; or cell=.rnn. or cell=.lstm."):
        weights.read(inner | lstm)
    assert weights.read(inner | lstm, kind="rnn").keys() == found.keys()


def test_a_live_module_with_an_rnn_inside_brings_its_configuration():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    implementation, _ = loaded("torch-loop")

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = torch.nn.RNN(3, 4, nonlinearity="relu", batch_first=True)
            self.head = torch.nn.Linear(4, 2)

    model = Model()
    config = weights.config_of(model, weights.read(model))
    assert (config.nonlinearity, config.batch_first) == ("relu", True)
    assert_parity(implementation.layer, weights=model, x=torch.randn(2, 5, 3))


def test_assert_parity_says_what_it_does_not_know():
    implementation, _ = loaded("numpy-loop")

    def layer(x, h0, cell, nonlinearity, eps=0.0):
        return implementation.layer(x, h0, implementation.prepare(cell, nonlinearity), nonlinearity)

    x = np.ones((6, 3, 3))
    assert_parity(layer, weights=_parameters(), x=x, framework="numpy")
    with pytest.raises(UsageError, match="no device 'cuda' for numpy here"):
        assert_parity(layer, weights=_parameters(), x=x, framework="numpy", device="cuda")
    with pytest.raises(UsageError, match="framework is 'mxnet', expected one of"):
        assert_parity(layer, weights=_parameters(), x=x, framework="mxnet")
    for implementation in (dict, lambda x: x):
        with pytest.raises(UsageError, match="expected layer"):
            assert_parity(implementation, weights=_parameters(), framework="numpy")


def test_a_module_of_the_current_folder_and_an_attribute_of_it_are_found(tmp_path):
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "mod.py").write_text(
        "from recurrences.elman import numpy_loop\n"
        "class fast:\n    framework, prepare = 'numpy', staticmethod(numpy_loop.prepare)\n"
        "    layer = staticmethod(numpy_loop.layer)\n"
        "framework, prepare, layer = 'numpy', numpy_loop.prepare, numpy_loop.layer\n"
    )
    weights.write(tmp_path / "w.safetensors", _parameters())
    command = Path(sys.executable).parent / "rnnparity"
    arguments = ("check", "pkg.mod", "pkg.mod:fast", "--weights", "w.safetensors", "--json")
    done = subprocess.run([command, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = {record["implementation"] for record in json.loads(done.stdout)["records"]}
    assert names == {"pkg.mod", "pkg.mod:fast"}


def test_a_file_named_like_a_library_hides_nothing(tmp_path):
    run("rnnparity", "new", "copy.py", cwd=tmp_path)
    weights.write(tmp_path / "w.safetensors", _parameters())
    command = Path(sys.executable).parent / "rnnparity"
    arguments = ("check", "copy.py", "--weights", "w.safetensors")
    done = subprocess.run([command, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_export_from_the_command_line(tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed")
    weights.write(tmp_path / "w.safetensors", _parameters())
    arguments = ("export", "out.onnx", "--weights", "w.safetensors")
    done = run("rnnparity", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run("rnnparity", "check", "numpy-loop", "--weights", "out.onnx", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


LSTM_FILE = """
import numpy as np
framework = "numpy"
kind = "lstm"

def s(a):
    return 1 / (1 + np.exp(-a))

def layer(x, h0, c0, cell):
    weight_ih, weight_hh, bias_ih, bias_hh = cell
    h, c, output = h0, c0, []
    for x_t in x:
        a = x_t @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh
        i, f, g, o = np.split(a, 4, axis=1)
        c = s(f) * c + s(i) * np.tanh(g)
        h = s(o) * np.tanh(c)
        output.append(h)
    return np.stack(output).astype(x.dtype), h.astype(x.dtype), c.astype(x.dtype)
"""


def test_a_file_says_of_which_kind_it_is(tmp_path):
    right, wrong = tmp_path / "my_lstm.py", tmp_path / "onnx_order.py"
    right.write_text(LSTM_FILE)
    wrong.write_text(LSTM_FILE.replace("i, f, g, o = np", "i, o, f, g = np"))
    cases = [f"float32-torch-init-lstm-{rest}-I8-H16" for rest in ("T12-B4", "2layers-T12-B4")]
    run = rnnparity.check(right, wrong, case=cases, out=tmp_path / "run")
    assert {record.cell for record in run.records} == {"lstm"}
    verdicts = {r.verdict for r in run.records if r.implementation == "my_lstm"}
    assert verdicts == {"pass"}
    told = {r.reason for r in run.records if r.implementation == "onnx_order"}
    assert any("equals the recurrence with gates in the order i o f g" in one for one in told)


@pytest.mark.parametrize("name", ["GRU", "LSTM"])
def test_assert_parity_of_gated_functions(name):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.manual_seed(0)
    module = getattr(torch.nn, name)(3, 4)

    def s(a):
        return 1 / (1 + np.exp(-a))

    def gru(x, h0, cell):
        weight_ih, weight_hh, bias_ih, bias_hh = cell
        h, output = h0, []
        for x_t in x:
            (a_r, a_z, a_n), (u_r, u_z, u_n) = (
                np.split(x_t @ weight_ih.T + bias_ih, 3, axis=1),
                np.split(h @ weight_hh.T + bias_hh, 3, axis=1),
            )
            z = s(a_z + u_z)
            h = (1 - z) * np.tanh(a_n + s(a_r + u_r) * u_n) + z * h
            output.append(h)
        return np.stack(output), h

    def lstm(x, h0, c0, cell):
        weight_ih, weight_hh, bias_ih, bias_hh = cell
        h, c, output = h0, c0, []
        for x_t in x:
            a = x_t @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh
            i, f, g, o = np.split(a, 4, axis=1)
            c = s(f) * c + s(i) * np.tanh(g)
            h = s(o) * np.tanh(c)
            output.append(h)
        return np.stack(output), h, c

    right = {"GRU": gru, "LSTM": lstm}[name]
    x, states = np.ones((5, 2, 3), "f4"), {"h0": np.full((1, 2, 4), 0.5, "f4")}
    if name == "LSTM":
        states["c0"] = np.full((1, 2, 4), 2.0, "f4")
    assert_parity(right, weights=module, x=x, framework="numpy", **states)

    def wrong(x, *others):
        return right(np.roll(x, 1, axis=0) * 0.99, *others)

    def three(x, h0, cell):
        return wrong(x, h0, cell)

    def four(x, h0, c0, cell):
        return wrong(x, h0, c0, cell)

    with pytest.raises(AssertionError, match="units of rounding"):
        assert_parity(three if name == "GRU" else four, weights=module, framework="numpy")
