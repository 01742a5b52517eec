"""Weights from every source, and one clear line for everything that holds none."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from rnnparity.cells.config import RNNConfig, parameter_shapes
from rnnparity.errors import UsageError
from rnnparity.problems import weights

CONFIG = RNNConfig(input_size=3, hidden_size=4, num_layers=2, bidirectional=True)


def _parameters(config=CONFIG, dtype="float32"):
    rng = np.random.default_rng(0)
    return {k: rng.normal(size=s).astype(dtype) for k, s in parameter_shapes(config).items()}


@pytest.mark.parametrize(
    "config",
    [
        RNNConfig(input_size=3, hidden_size=4),
        RNNConfig(input_size=1, hidden_size=1, num_layers=3),
        RNNConfig(input_size=7, hidden_size=2, bias=False),
        CONFIG,
    ],
)
def test_configuration_is_inferred(config):
    assert weights.infer_config(_parameters(config)) == config


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


def _lstm():
    return {"weight_ih_l0": np.ones((16, 3), "f4"), "weight_hh_l0": np.ones((16, 4), "f4")}


def _without(name):
    return {k: v for k, v in _parameters().items() if k != name}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (_lstm(), "an LSTM"),
        ({k: v[:12] for k, v in _lstm().items()}, "a GRU"),
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
        ("weights.npz", b"", "expected .safetensors, .pt or .onnx"),
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
