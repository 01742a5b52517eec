"""GRU and LSTM nodes: the order of their gates, their states, and what torch has not.

ONNX Runtime says what a model means, torch what parameters mean.
"""

import warnings
from itertools import permutations

import numpy as np
import pytest

from rnnparity.cells.config import KINDS, RNNConfig, parameter_shapes
from rnnparity.errors import UsageError
from rnnparity.problems import weights
from rnnparity.problems.weights import onnx_format, onnx_reader, onnx_writer

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
helper, numpy_helper = onnx.helper, onnx.numpy_helper

T, B, I, H = 6, 3, 5, 4
# Largest difference of a float32 result from torch's in float64 (3.5e-7 was found), and the least
# of gates in a wrong order (0.7 was found; 0.34 with a GRU's r at the wrong place).
ROUNDING, WRONG = 2e-6, 0.2


def _drawn(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype("f4")


def _parameters(config):
    shapes = parameter_shapes(config).values()
    drawn = (_drawn(*shape, seed=k) / 2 for k, shape in enumerate(shapes))
    return dict(zip(parameter_shapes(config), drawn, strict=True))


def _by_torch(parameters, config, x, states=None, lengths=None):
    """Return output and final states of torch's module, in float64."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    module = getattr(torch.nn, config.kind.upper())(
        config.input_size,
        config.hidden_size,
        config.num_layers,
        bias=config.bias,
        batch_first=config.batch_first,
        bidirectional=config.bidirectional,
        dtype=torch.float64,
    )
    module.load_state_dict({k: torch.from_numpy(v.astype("f8")) for k, v in parameters.items()})
    given = torch.from_numpy(x.astype("f8"))
    if states is not None:
        states = [torch.from_numpy(state.astype("f8")) for state in states]
        states = tuple(states) if config.kind == "lstm" else states[0]
    if lengths is not None:
        given = torch.nn.utils.rnn.pack_padded_sequence(
            given, torch.from_numpy(lengths), config.batch_first, enforce_sorted=False
        )
    with torch.no_grad():
        output, final = module(given, states)
    if lengths is not None:
        output, _ = torch.nn.utils.rnn.pad_packed_sequence(output, config.batch_first)
    final = final if config.kind == "lstm" else (final,)
    return [output.numpy(), *(state.numpy() for state in final)]


def _by_onnxruntime(path, given):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, given)


def _largest(found, expected):
    return max(
        float(np.abs(a.reshape(b.shape) - b).max()) for a, b in zip(found, expected, strict=True)
    )


def _wrong_orders(monkeypatch, kind):
    """Put gates in every other order than ONNX's, torch's among them."""
    right = onnx_format.OPERATORS[kind]
    for gates in permutations(right.gates):
        if gates != right.gates:
            monkeypatch.setitem(onnx_format.OPERATORS, kind, right._replace(gates=gates))
            yield gates


def _export_error(folder, config, ragged=False):
    """Return how far ONNX Runtime on an exported model is from torch."""
    parameters = _parameters(config)
    onnx_writer.write(folder / "a.onnx", parameters, config, lengths=ragged)
    names = KINDS[config.kind].states
    states = [_drawn(config.num_cells, B, H, seed=k) for k in range(len(names))]
    lengths = np.array([2, T, 4]) if ragged else None
    x = _drawn(B, T, I) if config.batch_first else _drawn(T, B, I)
    given = {"x": x} | {f"{name}0": state for name, state in zip(names, states, strict=True)}
    if ragged:
        given["lengths"] = lengths.astype(np.int32)
    found = _by_onnxruntime(folder / "a.onnx", given)
    return _largest(found, _by_torch(parameters, config, x, states, lengths))


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_onnx_runtime_runs_what_is_exported(
    tmp_path, kind, layers, both, bias, batch_first, ragged
):
    config = RNNConfig(
        kind=kind,
        input_size=I,
        hidden_size=H,
        num_layers=layers,
        bidirectional=both,
        bias=bias,
        batch_first=batch_first,
    )
    assert _export_error(tmp_path, config, ragged) < ROUNDING


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_gates_exported_in_another_order_are_seen(tmp_path, kind, monkeypatch):
    config = RNNConfig(kind=kind, input_size=I, hidden_size=H)
    seen = {
        gates: _export_error(tmp_path, config) > WRONG for gates in _wrong_orders(monkeypatch, kind)
    }
    assert KINDS[kind].gates in seen
    assert all(seen.values()), seen


def test_a_gru_exported_without_linear_before_reset_is_seen(tmp_path, monkeypatch):
    wrong = onnx_format.OPERATORS["gru"]._replace(attributes={})
    monkeypatch.setitem(onnx_format.OPERATORS, "gru", wrong)
    config = RNNConfig(kind="gru", input_size=I, hidden_size=H)
    assert _export_error(tmp_path, config) > WRONG


def _by_hand(kind, path, stored=None, D=1, **attributes):
    """Write one node, with no help of ours; None as a tensor leaves that input out."""
    G = {"gru": 3, "lstm": 4, "rnn": 1}[kind]
    drawn = {"W": _drawn(D, G * H, I), "R": _drawn(D, G * H, H), "B": _drawn(D, 2 * G * H)}
    stored = drawn | (stored or {})
    order = ["W", "R", "B", "lengths", "h0", "c0", "P"]
    names = [name if stored.get(name) is not None else "" for name in order]
    while not names[-1]:
        names.pop()
    if kind == "gru":
        attributes.setdefault("linear_before_reset", 1)
    attributes = {"hidden_size": H, "name": "it"} | attributes
    states = KINDS[kind].states
    node = helper.make_node(
        kind.upper(), ["x", *names], ["y", *(f"y_{s}" for s in states)], **attributes
    )
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "g",
        [value("x", 1, [None, None, I])],
        [value(name, 1, None) for name in node.output],
        [numpy_helper.from_array(stored[n], n) for n in names if n],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path.write_bytes(model.SerializeToString())
    return path


def _import_error(path, kind, direction="forward"):
    """Return how far torch on what is read is from ONNX Runtime on the model."""
    imported = onnx_reader.read(path)
    parameters = weights.read(path)
    config = weights.infer_config(parameters)
    assert imported.kind == config.kind == kind
    assert config.bidirectional == (direction == "bidirectional")
    x = _drawn(T, B, I)
    y, *final = _by_onnxruntime(path, {"x": x})
    y = y.swapaxes(1, 2).reshape(T, B, -1)
    assert imported.reverse == (direction == "reverse")
    if imported.reverse:
        x, y = x[::-1].copy(), y[::-1]
    states = [state for state in (imported.h0, imported.c0) if state is not None]
    return _largest([y, *final], _by_torch(parameters, config, x, states or None))


@pytest.mark.parametrize("stored", ["plain", "no bias", "states", "h0 alone"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_a_model_by_hand_is_read_as_onnx_runtime_runs_it(tmp_path, kind, direction, stored):
    D = 2 if direction == "bidirectional" else 1
    h0, c0 = _drawn(D, B, H, seed=1), _drawn(D, B, H, seed=2) if kind == "lstm" else None
    given = {
        "plain": {},
        "no bias": {"B": None},
        "states": {"h0": h0, "c0": c0},
        "h0 alone": {"h0": h0},
    }[stored]
    path = _by_hand(kind, tmp_path / "a.onnx", given, D, direction=direction)
    assert _import_error(path, kind, direction) < ROUNDING


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_gates_read_in_another_order_are_seen(tmp_path, kind, monkeypatch):
    path = _by_hand(kind, tmp_path / "a.onnx")
    seen = {gates: _import_error(path, kind) > WRONG for gates in _wrong_orders(monkeypatch, kind)}
    assert KINDS[kind].gates in seen
    assert all(seen.values()), seen


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_what_torch_s_own_exporter_writes_is_read_back(tmp_path, name):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    module = getattr(torch.nn, name)(I, H, 2, bidirectional=True).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.zeros(T, B, I),), tmp_path / "a.onnx", dynamo=False)
    found = weights.read(tmp_path / "a.onnx")
    assert found.keys() == module.state_dict().keys()
    assert all(np.array_equal(found[k], v.numpy()) for k, v in module.state_dict().items())


def test_states_and_lengths_with_the_batch_first(tmp_path):
    h0, c0, lengths = _drawn(B, 1, H), _drawn(B, 1, H, seed=1), np.array([1, 3, 2], "i4")
    stored = {"h0": h0, "c0": c0, "lengths": lengths}
    model = onnx_reader.read(_by_hand("lstm", tmp_path / "a.onnx", stored, layout=1))
    assert model.batch_first
    assert np.array_equal(model.h0, h0.swapaxes(0, 1))
    assert np.array_equal(model.c0, c0.swapaxes(0, 1))
    assert np.array_equal(model.lengths, lengths)


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_states_of_stacked_layers_are_all_known_or_none(tmp_path, kind):
    """Left out means zeros; an input of the graph means that nobody knows."""
    config = RNNConfig(kind=kind, input_size=I, hidden_size=H, num_layers=2)
    onnx_writer.write(tmp_path / "a.onnx", _parameters(config), config)
    model = onnx.load(tmp_path / "a.onnx")
    first, second = (node for node in model.graph.node if node.op_type == kind.upper())
    stored = _drawn(1, B, H)
    model.graph.initializer.append(numpy_helper.from_array(stored, "h"))
    first.input[5] = "h"
    if kind == "lstm":
        first.input[6] = ""
    onnx.save(model, tmp_path / "b.onnx")
    imported = onnx_reader.read(tmp_path / "b.onnx")
    assert imported.h0 is None
    assert imported.c0 is None
    del second.input[5:]
    onnx.save(model, tmp_path / "c.onnx")
    imported = onnx_reader.read(tmp_path / "c.onnx")
    assert np.array_equal(imported.h0, np.concatenate([stored, 0 * stored]))
    assert (imported.c0 is None) == (kind != "lstm")
    if kind == "lstm":
        assert np.array_equal(imported.c0, np.zeros((2, B, H)))


def test_peepholes_that_are_not_stored_are_refused(tmp_path):
    model = onnx.load(_by_hand("lstm", tmp_path / "a.onnx", {"P": np.zeros((1, 3 * H), "f4")}))
    model.graph.node[0].input[7] = "elsewhere"
    onnx.save(model, tmp_path / "b.onnx")
    with pytest.raises(UsageError, match="elsewhere is not stored in the file"):
        onnx_reader.read(tmp_path / "b.onnx")


def _bias_of_candidate(value):
    bias = np.zeros((1, 6 * H), "f4")
    bias[:, -H:] = value
    return bias


def _diagonal_candidate(off=0.0):
    R = _drawn(1, 3 * H, H)
    R[:, 2 * H :] = np.diag([0.5, -1.0, 2.0, 0.1])
    R[:, 2 * H, 1] = off
    return R


def test_reset_before_the_product_is_read_where_it_makes_no_difference(tmp_path):
    stored = {"R": _diagonal_candidate(), "B": _bias_of_candidate(0)}
    path = _by_hand("gru", tmp_path / "a.onnx", stored, linear_before_reset=0)
    assert _import_error(path, "gru") < ROUNDING
    path = _by_hand("gru", tmp_path / "a.onnx", stored | {"B": None}, linear_before_reset=0)
    assert _import_error(path, "gru") < ROUNDING


def test_peepholes_of_zero_are_none(tmp_path):
    path = _by_hand("lstm", tmp_path / "a.onnx", {"P": np.zeros((1, 3 * H), "f4")})
    assert _import_error(path, "lstm") < ROUNDING


@pytest.mark.parametrize(
    ("kind", "stored", "attributes", "message"),
    [
        ("gru", {}, {"linear_before_reset": 0}, "it has linear_before_reset=0"),
        (
            "gru",
            {"R": _diagonal_candidate(), "B": _bias_of_candidate(0.1)},
            {"linear_before_reset": 0},
            "linear_before_reset=0",
        ),
        (
            "gru",
            {"R": _diagonal_candidate(0.1), "B": _bias_of_candidate(0)},
            {"linear_before_reset": 0},
            "linear_before_reset=0",
        ),
        ("gru", {}, {"clip": 2.0}, r"clip=2: torch\.nn\.GRU has none"),
        ("gru", {}, {"activations": ["Tanh", "Tanh"]}, r"torch\.nn\.GRU has Sigmoid, Tanh"),
        ("gru", {}, {"activations": ["HardSigmoid", "Tanh"]}, "activations HardSigmoid, Tanh"),
        ("gru", {"W": _drawn(1, 4 * H, I)}, {}, r"expected \(1, 3 H, I\)"),
        ("lstm", {}, {"clip": 2.0}, "clip=2"),
        ("lstm", {}, {"input_forget": 1}, "input_forget=1"),
        ("lstm", {"P": _drawn(1, 3 * H)}, {}, "peepholes"),
        ("lstm", {}, {"activations": ["Sigmoid", "Tanh"]}, "activations Sigmoid, Tanh"),
        ("lstm", {}, {"activations": ["Sigmoid", "Tanh", "Relu"]}, "Sigmoid, Tanh, Relu"),
        ("lstm", {"B": _drawn(1, 6 * H)}, {}, "B do not fit"),
        ("lstm", {"h0": _drawn(2, B, H)}, {}, r"initial state \(2, 3, 4\), expected \(1, B, 4\)"),
        ("lstm", {"h0": _drawn(1, B, H), "c0": _drawn(1, 2, H)}, {}, "of several shapes"),
        ("lstm", {"h0": np.float32(1)}, {}, "initial state|damaged"),
    ],
)
def test_what_torch_cannot_do_is_refused_by_name(tmp_path, kind, stored, attributes, message):
    path = _by_hand(kind, tmp_path / "a.onnx", stored, **attributes)
    with pytest.raises(UsageError, match=message) as raised:
        onnx_reader.read(path)
    assert str(raised.value).isprintable()


def test_a_model_of_several_kinds_asks_which(tmp_path):
    model = onnx.load(_by_hand("lstm", tmp_path / "a.onnx"))
    model.graph.node.append(
        helper.make_node("RNN", ["x", "W_rnn", "R_rnn"], ["z"], hidden_size=H, name="other")
    )
    for name, shape in (("W_rnn", (1, H, I)), ("R_rnn", (1, H, H))):
        model.graph.initializer.append(numpy_helper.from_array(_drawn(*shape), name))
    onnx.save(model, tmp_path / "b.onnx")
    with pytest.raises(UsageError, match="several kinds: give cell=, one of rnn, lstm"):
        weights.read(tmp_path / "b.onnx")
    for kind in ("rnn", "lstm"):
        found = weights.read(tmp_path / "b.onnx", kind=kind)
        assert weights.infer_config(found, kind).kind == kind
    with pytest.raises(UsageError, match="no GRU node: give cell=, one of rnn, lstm"):
        weights.read(tmp_path / "b.onnx", kind="gru")
