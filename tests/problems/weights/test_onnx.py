"""ONNX models: read, written, and refused where torch.nn.RNN has no such thing."""

import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from conftest import reference_of

from rnnparity.cells.config import RNNConfig, parameter_shapes
from rnnparity.errors import UsageError
from rnnparity.implementations.contract import load
from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.registry import resolve_all
from rnnparity.judging.verdict import judge
from rnnparity.problems import weights
from rnnparity.problems.cases import Case
from rnnparity.problems.weights import onnx_reader, onnx_writer

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
helper, numpy_helper = onnx.helper, onnx.numpy_helper

CONFIGS = [
    RNNConfig(
        kind=kind, input_size=3, hidden_size=4, num_layers=layers, bidirectional=both, bias=bias
    )
    for kind in ("rnn", "gru", "lstm")
    for layers in (1, 2, 3)
    for both in (False, True)
    for bias in (True, False)
]


def _parameters(config):
    rng = np.random.default_rng(0)
    return {n: rng.normal(size=s).astype("f4") for n, s in parameter_shapes(config).items()}


@pytest.mark.parametrize("config", CONFIGS, ids=repr)
def test_what_is_written_is_read_back(tmp_path, config):
    given = _parameters(config)
    onnx_writer.write(tmp_path / "a.onnx", given, config)
    found = weights.read(tmp_path / "a.onnx")
    assert weights.infer_config(found) == config
    assert found.keys() == given.keys()
    assert all(np.array_equal(found[name], given[name]) for name in given)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_round_trip_through_onnx_runtime(tmp_path, layers, both, nonlinearity, batch_first, ragged):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    config = RNNConfig(
        input_size=5,
        hidden_size=6,
        num_layers=layers,
        bidirectional=both,
        nonlinearity=nonlinearity,
        batch_first=batch_first,
    )
    case = Case(config=config, T=7, B=4, ragged=ragged)
    against = reference_of(case)
    problem = against.problem
    onnx_writer.write(tmp_path / "a.onnx", problem.weights, config, lengths=ragged)
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    given = {"x": problem.x, "h0": problem.h0}
    if ragged:
        given["lengths"] = problem.lengths.astype(np.int32)
    output, h_n = session.run(None, given)
    judgement = judge(case, Outcome({"output": output, "h_n": h_n}), against)
    assert judgement.verdict == "pass", judgement.reason


def _model(node_arguments=None, W=(1, 4, 3), R=(1, 4, 4), extra_nodes=(), inputs=None):
    rng = np.random.default_rng(0)
    stored = {"W": rng.normal(size=W), "R": rng.normal(size=R), "B": rng.normal(size=(W[0], 8))}
    node = helper.make_node(
        "RNN", inputs or ["x", "W", "R", "B"], ["y", "y_h"], hidden_size=4, **(node_arguments or {})
    )
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node, *extra_nodes],
        "g",
        [value("x", 1, [None, None, 3])],
        [value("y", 1, None)],
        [numpy_helper.from_array(v.astype("f4"), n) for n, v in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clip": 1.0}, "clip=1"),
        ({"activations": ["Sigmoid"]}, "activations Sigmoid"),
        ({"activations": ["LeakyRelu"]}, "activations LeakyRelu"),
        ({"direction": "bidirectional"}, r"expected \(2, H, I\)"),
    ],
)
def test_what_torch_cannot_do_is_refused_by_name(tmp_path, arguments, message):
    onnx.save(_model(arguments), tmp_path / "a.onnx")
    with pytest.raises(UsageError, match=message) as raised:
        weights.read(tmp_path / "a.onnx")
    assert "\n" not in str(raised.value)


def test_attributes_are_read(tmp_path):
    onnx.save(_model({"activations": ["Relu"], "layout": 1}), tmp_path / "a.onnx")
    model = onnx_reader.read(tmp_path / "a.onnx")
    assert (model.nonlinearity, model.batch_first, model.reverse) == ("relu", True, False)
    onnx.save(_model({"direction": "reverse"}), tmp_path / "b.onnx")
    assert onnx_reader.read(tmp_path / "b.onnx").reverse


def _reversed_rnn(x, weight_ih, weight_hh, bias):
    """An RNN that reads backwards, in plain NumPy: the judge of what `reverse` means."""
    h, output = np.zeros((x.shape[1], 4)), np.zeros((*x.shape[:2], 4))
    for t in reversed(range(len(x))):
        output[t] = h = np.tanh(x[t] @ weight_ih.T + h @ weight_hh.T + bias)
    return output


def test_a_reverse_model_is_judged_on_reversed_input(tmp_path):
    from rnnparity.problems.given import Sequences, Weights, keep
    from rnnparity.problems.given import case as case_of

    onnx.save(_model({"direction": "reverse"}), tmp_path / "a.onnx")
    kept = keep(Weights(tmp_path / "a.onnx"), tmp_path)
    x = np.random.default_rng(1).normal(size=(6, 2, 3)).astype("f4")
    given = case_of(kept, Sequences(x), tmp_path)
    w = weights.read(tmp_path / "a.onnx")
    expected = _reversed_rnn(
        x, w["weight_ih_l0"], w["weight_hh_l0"], w["bias_ih_l0"] + w["bias_hh_l0"]
    )
    found = reference_of(given).true.values["output"][::-1]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(reference_of(given).true.values["output"] - expected).max() > 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"direction": "sideways"}, "unknown direction"),
        ({"domain": "com.example"}, "not ONNX's own"),
        ({"direction": "bidirectional", "activations": ["Tanh"]}, "activations Tanh"),
    ],
)
def test_models_that_only_look_like_it_are_refused(tmp_path, arguments, message):
    onnx.save(_model(arguments), tmp_path / "a.onnx")
    with pytest.raises(UsageError, match=message):
        weights.read(tmp_path / "a.onnx")


def test_a_name_with_control_characters_stays_one_line(tmp_path):
    onnx.save(_model({"clip": 1.0, "name": "evil\x1b[31m\nline"}), tmp_path / "a.onnx")
    with pytest.raises(UsageError, match="clip=1") as raised:
        weights.read(tmp_path / "a.onnx")
    assert str(raised.value).isprintable()


def test_layers_that_are_not_stacked_are_refused(tmp_path):
    """Unless they are alike: then it is one, called twice."""
    other = helper.make_node("RNN", ["x", "W", "R"], ["z", "z_h"], hidden_size=4)
    onnx.save(_model(extra_nodes=[other]), tmp_path / "a.onnx")
    with pytest.raises(UsageError, match="several RNNs: give prefix=, one of y, z"):
        weights.read(tmp_path / "a.onnx")
    other.input.append("B")
    onnx.save(_model(extra_nodes=[other]), tmp_path / "b.onnx")
    assert weights.read(tmp_path / "b.onnx").keys() == weights.read(tmp_path / "a.onnx", "y").keys()


def test_weights_that_are_not_stored_are_refused(tmp_path):
    onnx.save(_model(inputs=["x", "V", "R", "B"]), tmp_path / "a.onnx")
    with pytest.raises(UsageError, match="V are not stored"):
        weights.read(tmp_path / "a.onnx")


def test_a_model_without_an_rnn_says_what_it_has(tmp_path):
    model = _model()
    del model.graph.node[:]
    model.graph.node.append(helper.make_node("Relu", ["x"], ["y"]))
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(UsageError, match="no RNN, GRU or LSTM node, but Relu"):
        weights.read(tmp_path / "a.onnx")


@pytest.mark.parametrize("place", ["../secret.bin", "/etc/passwd", "a/../../secret.bin"])
def test_external_data_outside_the_folder_is_not_read(tmp_path, place):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(4 * 12))
    model = _model()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    (folder / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UsageError, match="expected a file in its own folder"):
        weights.read(folder / "a.onnx")


def test_a_tensor_larger_than_its_file_is_not_allocated(tmp_path):
    (tmp_path / "data.bin").write_bytes(bytes(48))
    model = _model()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="data.bin")
    tensor.dims[1] = 2**40
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UsageError, match="larger than the file"):
        weights.read(tmp_path / "a.onnx")


# ONNX's own test data, as releases up to 1.22 ship it.
ONNX_WITH_DATA = "onnx==1.19.1"
NODE_CASES = (
    "test_simple_rnn_defaults",
    "test_simple_rnn_with_initial_bias",
    "test_simple_rnn_batchwise",
    "test_rnn_seq_length",
)


@pytest.fixture(scope="module")
def node_data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*command, "-d", str(folder), ONNX_WITH_DATA], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        wanted = re.compile(r".*/data/node/test_(simple_rnn|rnn|gru|lstm)_.*")
        names = [n for n in archive.namelist() if wanted.fullmatch(n)]
        archive.extractall(folder, names)
    return folder / "onnx" / "backend" / "test" / "data" / "node"


def _tensor(path):
    return numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


def _tensors(folder, names, what):
    data = folder / "test_data_set_0"
    return {name: _tensor(data / f"{what}_{i}.pb") for i, name in enumerate(names)}


@pytest.mark.install
@pytest.mark.parametrize("name", NODE_CASES)
def test_onnx_s_own_node_cases_are_reproduced(node_data, name, tmp_path):
    """To their stated tolerance (rtol 1e-3, atol 1e-7), by every implementation of ours."""
    from rnnparity.implementations.frameworks import get
    from rnnparity.implementations.settings import Settings
    from rnnparity.problems.given import Weights, keep

    folder = node_data / name
    model = onnx.load(folder / "model.onnx")
    inputs = _tensors(folder, [value.name for value in model.graph.input], "input")
    expected = _tensors(folder, [value.name for value in model.graph.output], "output")
    imported = onnx_reader.read(folder / "model.onnx", inputs)
    told = (imported.nonlinearity, imported.batch_first)
    config = keep(Weights(imported.parameters, None, *told), tmp_path).config
    B = inputs[imported.x].shape[0 if config.batch_first else 1]
    h0 = np.zeros((1, B, config.hidden_size), "f4") if imported.h0 is None else imported.h0
    reproduced = 0
    for spec in resolve_all([]):
        implementation = load(spec)
        border = get(implementation.framework, Settings())
        given = {n: border.from_numpy(v, "cpu") for n, v in imported.parameters.items()}
        lengths = imported.lengths
        crossed = [
            None if a is None else border.from_numpy(a, "cpu")
            for a in (
                inputs[imported.x],
                h0,
                None if lengths is None else lengths.astype(np.int64),
            )
        ]
        output, h_n = implementation.run(implementation.prepared(given, config), *crossed, config)
        found = {"Y": border.to_numpy(output), "Y_h": border.to_numpy(h_n)}
        found["Y"] = found["Y"][:, :, None] if config.batch_first else found["Y"][:, None]
        found["Y_h"] = found["Y_h"].swapaxes(0, 1) if config.batch_first else found["Y_h"]
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value, rtol=1e-3, atol=1e-7, err_msg=spec.name)
            reproduced += 1
    assert reproduced >= 4


@pytest.mark.install
@pytest.mark.parametrize("name", ["defaults", "with_initial_bias", "batchwise"])
def test_onnx_s_own_lstm_cases_are_what_torch_computes(node_data, name):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    folder = node_data / f"test_lstm_{name}"
    graph = onnx.load(folder / "model.onnx").graph
    inputs = _tensors(folder, [value.name for value in graph.input], "input")
    expected = _tensors(folder, [value.name for value in graph.output], "output")
    imported = onnx_reader.read(folder / "model.onnx", inputs)
    config = weights.infer_config(imported.parameters, imported.kind)
    module = torch.nn.LSTM(
        config.input_size, config.hidden_size, bias=config.bias, batch_first=imported.batch_first
    )
    module.load_state_dict({k: torch.tensor(v) for k, v in imported.parameters.items()})
    with torch.no_grad():
        output, (h_n, c_n) = module(torch.tensor(inputs[imported.x]))
    found = {"Y": output, "Y_h": h_n, "Y_c": c_n}
    for key, value in expected.items():
        made = found[key].numpy().ravel() if key in found else None
        np.testing.assert_allclose(made, value.ravel(), rtol=1e-3, atol=1e-7)
    assert expected


@pytest.mark.install
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lstm_with_peepholes", "peepholes"),
        ("gru_defaults", "linear_before_reset=0"),
        ("gru_with_initial_bias", "linear_before_reset=0"),
        ("gru_seq_length", "linear_before_reset=0"),
        ("gru_batchwise", "linear_before_reset=0"),
    ],
)
def test_onnx_s_own_cases_that_torch_cannot_do_are_refused(node_data, name, message):
    folder = node_data / f"test_{name}"
    names = [value.name for value in onnx.load(folder / "model.onnx").graph.input]
    with pytest.raises(UsageError, match=message):
        onnx_reader.read(folder / "model.onnx", _tensors(folder, names, "input"))
