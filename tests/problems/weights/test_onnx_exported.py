"""ONNX models as torch's exporter writes them: read whatever stands around the network."""

import re
import warnings

import numpy as np
import pytest

from rnnparity.errors import UsageError
from rnnparity.problems import weights
from rnnparity.problems.given import Sequences, Weights, case, keep
from rnnparity.problems.weights import onnx_reader

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
torch = pytest.importorskip("torch", reason="torch is not installed")
nn = torch.nn

T, B, I, H = 3, 2, 4, 5
KINDS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class Within(nn.Module):
    """Something before, the network, something after."""

    def __init__(self, rnn, before=None):
        super().__init__()
        self.before, self.rnn = before or nn.Identity(), rnn
        self.head = nn.Linear(H * (2 if rnn.bidirectional else 1), 3)

    def forward(self, x):
        return self.head(torch.relu(self.rnn(self.before(x))[0]))


class Two(nn.Module):
    """Two networks, one of which reads the other's output, changed by something between."""

    def __init__(self, first, second, between=None):
        super().__init__()
        self.enc, self.between, self.dec = first, between or nn.Identity(), second

    def forward(self, x):
        return self.dec(self.between(self.enc(x)[0]))[0]


class Decoder(nn.Module):
    """A network that begins with another's final states, and reads its output, too."""

    def __init__(self, first, second):
        super().__init__()
        self.enc, self.dec = first, second

    def forward(self, x):
        return self.dec(*self.enc(x))[0]


class Twice(nn.Module):
    """One network, called on two inputs."""

    def __init__(self, rnn):
        super().__init__()
        self.rnn = rnn

    def forward(self, x, y):
        return self.rnn(x)[0] - self.rnn(y)[0]


def _export(path, module, *inputs, **arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), inputs, path, dynamo=False, **arguments)
    return path


def _x(*shape):
    return torch.from_numpy(np.random.default_rng(0).normal(size=shape).astype("f4"))


def _is_of(found, module):
    expected = {name: value.numpy() for name, value in module.state_dict().items()}
    return found.keys() == expected.keys() and all(
        np.array_equal(found[name], value) for name, value in expected.items()
    )


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 20])
@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_an_embedding_before_and_a_head_behind(tmp_path, kind, batch_first, fold, opset):
    rnn = KINDS[kind](I, H, 2, bidirectional=True, batch_first=batch_first)
    path = _export(
        tmp_path / "a.onnx",
        Within(rnn, nn.Embedding(10, I)),
        torch.zeros(B, T, dtype=torch.long),
        opset_version=opset,
        do_constant_folding=fold,
    )
    found = onnx_reader.read(path)
    assert _is_of(found.parameters, rnn)
    assert (found.kind, found.batch_first) == (kind, batch_first)
    for prefix in ("rnn", "/rnn/", found.kind and f"/rnn/{kind.upper()}"):
        assert _is_of(onnx_reader.read(path, prefix=prefix).parameters, rnn)


BEFORE = {
    "linear": (nn.Sequential(nn.Linear(7, I), nn.ReLU()), (B, T, 7)),
    "normalised": (nn.LayerNorm(I), (B, T, I)),
    "dropout": (nn.Dropout(0.5), (B, T, I)),
    "nothing": (None, (B, T, I)),
}


@pytest.mark.parametrize("before", BEFORE)
def test_what_stands_before_does_not_matter(tmp_path, before):
    module, shape = BEFORE[before]
    rnn = nn.RNN(I, H, 2, nonlinearity="relu", batch_first=True)
    path = _export(tmp_path / "a.onnx", Within(rnn, module), _x(*shape))
    found = onnx_reader.read(path)
    assert _is_of(found.parameters, rnn)
    assert (found.nonlinearity, found.batch_first, found.is_told) == ("relu", True, True)


@pytest.mark.parametrize("training", ["EVAL", "TRAINING"])
def test_layers_with_dropout_between_are_one_stack_and_each_has_its_name(tmp_path, training):
    module = Two(nn.LSTM(I, H), nn.LSTM(H, H), nn.Dropout(0.5))
    mode = getattr(torch.onnx.TrainingMode, training)
    path = _export(tmp_path / "a.onnx", module, _x(T, B, I), training=mode)
    assert "weight_ih_l1" in onnx_reader.read(path).parameters
    for prefix in ("enc", "/enc/LSTM"):
        assert _is_of(onnx_reader.read(path, prefix=prefix).parameters, module.enc)
    for prefix in ("dec", "dec.", "/dec/LSTM"):
        assert _is_of(onnx_reader.read(path, prefix=prefix).parameters, module.dec)


@pytest.mark.parametrize(
    "module",
    [
        Two(nn.RNN(I, H), nn.RNN(H, H), nn.ReLU()),
        Two(nn.RNN(I, H), nn.RNN(H, H), nn.Linear(H, H)),
        Two(nn.RNN(I, H), nn.RNN(H, 7)),
        Two(nn.RNN(I, H, bidirectional=True), nn.RNN(2 * H, H)),
        Two(nn.RNN(I, H), nn.RNN(H, H, nonlinearity="relu")),
        Decoder(nn.RNN(I, H), nn.RNN(H, H)),
        Decoder(nn.RNN(I, H, 2), nn.RNN(H, H, 2)),
    ],
    ids=["relu", "linear", "sizes", "directions", "nonlinearities", "decoder", "decoder of two"],
)
def test_networks_that_are_not_stacked_are_asked_for_by_name(tmp_path, module):
    path = _export(tmp_path / "a.onnx", module, _x(T, B, I))
    asked = "a.onnx holds several RNNs: give prefix=, one of /enc/RNN, /dec/RNN$"
    with pytest.raises(UsageError, match=asked):
        weights.read(path)
    for prefix in ("/dec/RNN", "dec", "dec/RNN"):
        assert _is_of(weights.read(path, prefix), module.dec)
    assert _is_of(weights.read(path, "enc"), module.enc)
    with pytest.raises(UsageError, match="no RNN under the prefix 'de': there is /enc/RNN, /dec"):
        weights.read(path, "de")


def test_what_stands_around_a_network_is_told(tmp_path):
    """What is fed to the model is not what the network reads; moving numbers changes none."""

    class Scaled(nn.Module):
        def forward(self, x):
            return x * 2

    for module, told in (
        (Within(nn.GRU(I, H), Scaled()), "has Mul before and Relu, .*after it: x and output are"),
        (Within(nn.LSTM(I, H)), "the model has Relu, .*after it: .* the LSTM's own"),
        (nn.GRU(I, H, 2, bidirectional=True, batch_first=True), "^$"),
    ):
        path = _export(tmp_path / "a.onnx", module, _x(T, B, I))
        assert re.search(told, onnx_reader.read(path).note)


def test_several_kinds_are_picked_by_cell_or_name(tmp_path):
    module = Two(nn.LSTM(I, H), nn.GRU(H, H))
    path = _export(tmp_path / "a.onnx", module, _x(T, B, I))
    with pytest.raises(UsageError, match="give cell=, one of gru, lstm; or prefix=, one of /enc"):
        weights.read(path)
    assert _is_of(weights.read(path, kind="gru"), module.dec)
    assert _is_of(weights.read(path, "enc"), module.enc)


def test_a_network_that_is_called_twice_is_one(tmp_path):
    module = Twice(nn.GRU(I, H))
    path = _export(tmp_path / "a.onnx", module, _x(T, B, I), _x(T, B, I))
    assert sum(node.op_type == "GRU" for node in onnx.load(path).graph.node) == 2
    assert _is_of(weights.read(path), module.rnn)


def test_a_network_in_a_branch_is_read(tmp_path):
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(I, H, batch_first=True)

        def forward(self, x):
            if x.size(0) > 1:
                return self.rnn(x)[0]
            return self.rnn(2 * x)[0]

    module = Branches()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(module)
    axes = {"input_names": ["x"], "dynamic_axes": {"x": {0: "B"}}}
    path = _export(tmp_path / "a.onnx", scripted, _x(B, T, I), **axes)
    assert not any(node.op_type == "GRU" for node in onnx.load(path).graph.node)
    assert _is_of(weights.read(path), module.rnn)


def test_weight_norm_is_computed(tmp_path):
    rnn = nn.LSTM(I, H)
    nn.utils.parametrizations.weight_norm(rnn, "weight_hh_l0")
    path = _export(tmp_path / "a.onnx", rnn, _x(T, B, I), do_constant_folding=False)
    found = weights.read(path)["weight_hh_l0"]
    np.testing.assert_allclose(found, rnn.weight_hh_l0.detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_dtypes(tmp_path, dtype):
    rnn = nn.GRU(I, H).to(getattr(torch, dtype))
    path = _export(tmp_path / "a.onnx", rnn, _x(T, B, I).to(getattr(torch, dtype)))
    assert keep(Weights(path), tmp_path).dtype == dtype
    assert _is_of(weights.read(path), rnn)


def _kept(folder, turned, **told):
    path = folder / "a.onnx"
    if not path.is_file():
        _export(path, Within(nn.RNN(I, H, batch_first=turned)), _x(B, T, I))
    return keep(Weights(path, **told), folder)


def test_a_leading_transpose_is_batch_first(tmp_path):
    """Whether the flag says so, too, or nobody."""
    for told in ({}, {"batch_first": True}):
        kept = _kept(tmp_path, True, **told)
        given = case(kept, Sequences(np.ones((B, T, I)), lengths=np.array([3, 2])), tmp_path)
        assert (given.T, given.B) == (T, B)


def test_what_contradicts_a_model_is_refused(tmp_path):
    for batch_first in (True, False):
        folder = tmp_path / str(batch_first)
        folder.mkdir()
        layout = r"\[B, T, I\]" if batch_first else r"\[T, B, I\]"
        with pytest.raises(UsageError, match=f"batch_first is given as .* takes {layout}") as told:
            _kept(folder, batch_first, batch_first=not batch_first)
        assert str(told.value).isprintable()
        with pytest.raises(UsageError, match=r"nonlinearity is given as relu, but .* has tanh"):
            _kept(folder, batch_first, nonlinearity="relu")
        assert _kept(folder, batch_first, nonlinearity="tanh").config.batch_first == batch_first


def test_where_a_model_leaves_doubt_the_flag_decides(tmp_path):
    """Behind another operation, what is not turned round may have been made either way."""
    rnn = nn.RNN(I, H)
    path = _export(tmp_path / "a.onnx", Within(rnn, nn.Linear(7, I)), _x(B, T, 7))
    assert not keep(Weights(path), tmp_path).config.batch_first
    assert keep(Weights(path, batch_first=True), tmp_path).config.batch_first


def test_zeros_of_the_example_s_batch_are_no_initial_state(tmp_path):
    model = onnx.load(_export(tmp_path / "a.onnx", nn.RNN(I, H), _x(T, B, I)))
    (node,) = [node for node in model.graph.node if node.op_type == "RNN"]
    zeros = np.zeros((1, B, H), "f4")
    model.graph.initializer.append(onnx.numpy_helper.from_array(zeros, "zeros"))
    node.input[5] = "zeros"
    onnx.save(model, tmp_path / "b.onnx")
    kept = keep(Weights(tmp_path / "b.onnx"), tmp_path)
    assert not case(kept, Sequences(np.ones((T, B + 1, I))), tmp_path).h0
