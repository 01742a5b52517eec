"""Weights from every source, and one clear line for everything that holds none."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from rnnparity.cells.config import KINDS, RNNConfig, parameter_shapes
from rnnparity.errors import UsageError
from rnnparity.problems import weights

CONFIG = RNNConfig(input_size=3, hidden_size=4, num_layers=2, bidirectional=True)
EVERY_KIND = [
    RNNConfig(
        kind=kind, input_size=3, hidden_size=4, num_layers=layers, bidirectional=both, bias=bias
    )
    for kind in KINDS
    for layers in (1, 2)
    for both in (False, True)
    for bias in (True, False)
]


def _parameters(config=CONFIG, dtype="float32"):
    rng = np.random.default_rng(0)
    return {k: rng.normal(size=s).astype(dtype) for k, s in parameter_shapes(config).items()}


@pytest.mark.parametrize(
    "config",
    [
        RNNConfig(input_size=3, hidden_size=4),
        RNNConfig(input_size=1, hidden_size=1, num_layers=3),
        RNNConfig(input_size=7, hidden_size=2, bias=False),
        RNNConfig(input_size=1, hidden_size=1, kind="gru"),
        RNNConfig(input_size=1, hidden_size=1, kind="lstm", num_layers=3),
        RNNConfig(input_size=12, hidden_size=3, kind="lstm"),
        *EVERY_KIND,
    ],
)
def test_configuration_is_inferred(config):
    assert weights.infer_config(_parameters(config)) == config
    assert weights.infer_config(_parameters(config), config.kind) == config


def test_live_module_state_dict_and_both_files_agree(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    module = torch.nn.RNN(3, 4, 2, nonlinearity="relu", batch_first=True, bidirectional=True)
    torch.save(module.state_dict(), tmp_path / "a.pt")
    weights.write(tmp_path / "a.safetensors", weights.read(module))
    found = [
        weights.read(source)
        for source in (module, module.state_dict(), tmp_path / "a.pt", tmp_path / "a.safetensors")
    ]
    for other in found[1:]:
        assert other.keys() == found[0].keys()
        assert all(np.array_equal(other[k], found[0][k]) for k in other)
    config = weights.config_of(module, found[0])
    assert config.nonlinearity == "relu"
    assert config.batch_first


def test_bfloat16_crosses_bit_by_bit():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    module = torch.nn.RNN(3, 4).to(torch.bfloat16)
    for name, value in weights.read(module).items():
        assert value.dtype.name == "bfloat16"
        assert np.array_equal(value.astype("float32"), module.state_dict()[name].float().numpy())


def _module(config, **more):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    return getattr(torch.nn, config.kind.upper())(
        config.input_size,
        config.hidden_size,
        config.num_layers,
        bias=config.bias,
        bidirectional=config.bidirectional,
        **more,
    )


@pytest.mark.parametrize("config", EVERY_KIND, ids=repr)
def test_every_kind_round_trips_bit_by_bit(tmp_path, config):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    module = _module(config)
    state = {name: value.numpy() for name, value in module.state_dict().items()}
    torch.save(module.state_dict(), tmp_path / "a.pt")
    weights.write(tmp_path / "a.safetensors", state)
    for source in (module, module.state_dict(), tmp_path / "a.pt", tmp_path / "a.safetensors"):
        found = weights.read(source)
        assert found.keys() == state.keys()
        assert all(found[name].tobytes() == value.tobytes() for name, value in state.items())
        assert weights.config_of(source, found) == config


@pytest.mark.parametrize("kind", KINDS)
def test_a_live_layer_s_own_type_and_layout_count(kind):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    config = RNNConfig(kind=kind, input_size=3, hidden_size=4, num_layers=2)
    module = _module(config, batch_first=True, dropout=0.5)
    model = torch.nn.ModuleDict({"inner": module, "head": torch.nn.Linear(4, 2)})
    for prefix in (None, "inner"):
        config = weights.config_of(model, weights.read(model, prefix), prefix, kind)
        assert (config.kind, config.batch_first, config.dropout) == (kind, True, 0.5)
    other = "gru" if kind == "lstm" else "lstm"
    named = weights.NAMES[other]
    with pytest.raises(UsageError, match=f"{named} was asked for: give cell=.{kind}.") as raised:
        weights.config_of(model, weights.read(model), None, other)
    assert "\n" not in str(raised.value)


def test_one_of_several_layers_is_picked_by_its_kind_or_its_prefix():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    model = torch.nn.ModuleDict(
        {
            "encoder": torch.nn.LSTM(3, 4, batch_first=True),
            "first": torch.nn.GRU(3, 4),
            "second": torch.nn.GRU(3, 4),
        }
    )
    with pytest.raises(UsageError, match=r"one of encoder, first, second; or cell=.lstm."):
        weights.read(model)
    with pytest.raises(UsageError, match=r"give prefix=, one of first, second$"):
        weights.read(model, kind="gru")
    with pytest.raises(UsageError, match="none of them an RNN: give prefix=, one of encoder,"):
        weights.read(model, kind="rnn")
    found = weights.read(model, kind="lstm")
    assert np.array_equal(found["weight_hh_l0"], model["encoder"].weight_hh_l0.detach().numpy())
    config = weights.config_of(model, found, None, "lstm")
    assert (config.kind, config.batch_first) == ("lstm", True)
    found = weights.read(model, "second")
    assert np.array_equal(found["weight_hh_l0"], model["second"].weight_hh_l0.detach().numpy())
    assert weights.config_of(model, found, "second").kind == "gru"


@pytest.mark.parametrize("wrap", [False, True])
def test_a_projection_is_refused_by_name(tmp_path, wrap):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    module = torch.nn.LSTM(3, 4, proj_size=2)
    model = torch.nn.ModuleDict({"inner": module}) if wrap else module
    torch.save(model.state_dict(), tmp_path / "a.pt")
    for source in (model, model.state_dict(), tmp_path / "a.pt"):
        for kind in (None, "lstm"):
            with pytest.raises(UsageError, match="LSTM with proj_size is not supported") as raised:
                weights.config_of(source, weights.read(source, kind=kind), None, kind)
            assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "names",
    [
        ("lstm/lstm_cell/kernel:0", "lstm/lstm_cell/recurrent_kernel:0", "lstm/lstm_cell/bias:0"),
        ("hi.kernel", "ii.kernel", "hi.bias"),
        ("weight_ih", "weight_hh", "bias"),
    ],
)
def test_gates_of_other_libraries_are_not_guessed(names):
    with pytest.raises(UsageError, match="in other orders, are not guessed") as raised:
        weights.read({name: np.ones((16, 4), "f4") for name in names})
    assert "\n" not in str(raised.value)


def test_a_layer_of_another_library_is_not_guessed():
    class LSTM:  # as Keras has it
        weights = ()

    with pytest.raises(UsageError, match=r"the LSTM holds no named tensors: .* are not guessed"):
        weights.read(LSTM())


def _of(kind):
    return _parameters(RNNConfig(kind=kind, input_size=3, hidden_size=4))


@pytest.mark.parametrize(
    ("parameters", "kind", "message"),
    [
        (_of("lstm"), "gru", r"\(16, 4\), which is an LSTM's, but a GRU was asked .* cell=.lstm."),
        (_of("gru"), "rnn", "a GRU's, but an RNN was asked for: give cell=.gru."),
        (_of("rnn"), "lstm", "an RNN's, but an LSTM was asked for"),
        (_of("rnn"), "elman", "no kind of cell 'elman': there are rnn, gru, lstm"),
        (_of("gru") | {"weight_hh_l0": np.ones((8, 4), "f4")}, None, "an RNN or a GRU or an LSTM"),
        (_of("gru") | {"weight_hh_l0": np.ones((8, 4), "f4")}, "gru", r"expected \(12, 4\): a GRU"),
        (_of("gru") | {"weight_hh_l0": np.ones((0, 0), "f4")}, None, "expected"),
        (
            _of("gru") | {"weight_ih_l0": np.ones((16, 3), "f4")},
            None,
            r"expected \(12, 3\) for a GRU",
        ),
        (_of("lstm") | {"bias_hh_l0": np.ones(12, "f4")}, None, r"expected \(16,\) for an LSTM"),
    ],
)
def test_a_kind_that_contradicts_the_shapes_is_said_in_one_line(parameters, kind, message):
    with pytest.raises(UsageError, match=message) as raised:
        weights.infer_config(parameters, kind)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_a_gru_or_an_lstm_has_no_nonlinearity_to_choose(kind):
    with pytest.raises(UsageError, match="no choice of a nonlinearity"):
        weights.infer_config(_of(kind), nonlinearity="relu")


def _without(name):
    return {k: v for k, v in _parameters().items() if k != name}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (_without("bias_hh_l1"), "bias_hh_l1 missing"),
        (_without("weight_hh_l0"), "weight_hh_l0 is missing"),
        (_without("weight_ih_l1_reverse"), "weight_ih_l1_reverse missing"),
        (_parameters() | {"weight": np.ones(3, "f4")}, "unexpected names weight"),
        (_parameters() | {"bias_ih_l9": np.ones(4, "f4")}, "weight_ih_l2 is missing"),
        (_parameters() | {"weight_ih_l3000000000": np.ones((4, 8), "f4")}, "l2 is missing"),
        (_parameters() | {"weight_ih_l00": np.ones((4, 3), "f4")}, "unexpected names"),
        (_parameters() | {"weight_ih_l1": np.ones((4, 3), "f4")}, r"expected \(4, 8\)"),
        (_parameters() | {"weight_hh_l0": np.ones(4, "f4")}, "expected two dimensions"),
        (_parameters() | {"weight_hh_l0": np.ones((4, 5), "f4")}, "weight_hh_l0"),
    ],
)
def test_what_is_no_rnn_is_said_in_one_line(parameters, message):
    with pytest.raises(UsageError, match=message) as raised:
        weights.infer_config(parameters)
    assert "\n" not in str(raised.value)


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(UsageError, match="bias_ih_l0 has values that are not finite"):
        weights.read(_parameters() | {"bias_ih_l0": np.full(4, np.nan, "f4")})


def test_integers_are_refused():
    with pytest.raises(UsageError, match="floating-point"):
        weights.read({"weight_ih_l0": np.ones((4, 3), "i4")})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.safetensors", None, "no file"),
        ("text.safetensors", b"hello, this is no weights file", "not a safetensors file"),
        ("empty.safetensors", b"", "not a safetensors file"),
        ("text.pt", b"hello", "no file of tensors"),
        ("weights.npz", b"", "not an .npz file"),
        ("weights", b"", "is empty: expected a weights file: safetensors"),
        ("weights.dat", b"hello", "is no weights file: expected a weights file"),
    ],
)
def test_files_that_are_no_weights(tmp_path, name, content, message):
    if name.endswith(".pt"):
        pytest.importorskip("torch", reason="torch is not installed")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message) as raised:
        weights.read(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "cut.safetensors"
    save_file(_parameters(), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UsageError, match="not a safetensors file"):
        weights.read(path)


def test_tensors_that_are_no_plain_numbers_are_refused():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    with pytest.raises(UsageError, match="cannot be read as numbers"):
        weights.read(torch.nn.RNN(3, 4, device="meta"))
    with pytest.raises(UsageError, match=r"weight_hh_l0 (is a list|cannot be read)"):
        weights.read(torch.nn.RNN(3, 4).state_dict() | {"weight_hh_l0": [[1.0], "a"]})


class _Touch:
    """A pickle that would make a file if anything executed it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_malicious_pickle_is_not_executed(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.save({"weight_ih_l0": _Touch(str(tmp_path / "executed"))}, tmp_path / "bad.pt")
    with pytest.raises(UsageError, match=r"save module\.state_dict"):
        weights.read(tmp_path / "bad.pt")
    assert not (tmp_path / "executed").exists()
    torch.load(tmp_path / "bad.pt", weights_only=False)["weight_ih_l0"].close()
    assert (tmp_path / "executed").exists()  # the pickle works: it was refused, not broken
