"""Which layer of a model is meant, and what is said of dictionaries that nearly fit."""

import numpy as np
import pytest

from rnnparity.cells.config import KINDS, RNNConfig, parameter_shapes
from rnnparity.errors import UsageError
from rnnparity.problems import weights


def _state(kind="rnn", before="", layers=1, factor=1, **more):
    config = RNNConfig(kind=kind, input_size=3, hidden_size=4, num_layers=layers, **more)
    rng = np.random.default_rng(0)
    shapes = parameter_shapes(config).items()
    return {before + n: factor * rng.normal(size=s).astype("f4") for n, s in shapes}


def _hh(found):
    return float(found["weight_hh_l0"][0, 0])


ONE, TWO = _state(), _state(factor=2)
FOUND = {
    "ddp": _state(before="module."),
    "compiled": _state(before="_orig_mod.module.rnn."),
    "checkpoint": {"model_state_dict": _state(before="rnn."), "epoch": 3, "loss": 0.5},
    "nested": {"ckpt": {"generation": {"model": {"a.b.c.d.e": ONE}}}},
    "in-a-list": {"models": [{"epoch": 1}, _state(before="rnn.")]},
    "optimizer-by-name": {"model": ONE, "optimizer_state_dict": TWO},
    "optimizer-by-number": {"model": ONE, "optimizer": {"state": {0: {"exp_avg": np.ones(3)}}}},
    "tied": _state(before="encoder.") | _state(before="decoder."),
    "beside-others": _state(before="rnn.") | {"fc.weight": np.ones((2, 4)), "fc.bias": np.ones(2)},
    "slashes": _state(before="model/rnn/"),
    "lists": {name: value.tolist() for name, value in ONE.items()},
    "lists-inside": {"net": {f"rnn.{name}": value.tolist() for name, value in ONE.items()}},
    "cell": {name.removesuffix("_l0"): value for name, value in ONE.items()},
    "cell-inside": {f"m.cell.{name.removesuffix('_l0')}": value for name, value in ONE.items()},
}


@pytest.mark.parametrize("case", FOUND)
def test_one_layer_is_found_wherever_it_is(case):
    found = weights.read(FOUND[case])
    assert found.keys() == ONE.keys()
    assert all(np.array_equal(found[name].astype("f4"), ONE[name]) for name in ONE)


EMA = _state(before="model.rnn.") | _state(before="ema.rnn.", factor=2)


@pytest.mark.parametrize(
    ("prefix", "factor"),
    [
        ("ema", 2),
        ("model", 1),
        ("ema.rnn", 2),
        ("ema.rnn.", 2),
        ("model/rnn", 1),
        ("state.ema", 2),
    ],
)
def test_an_average_of_weights_is_asked_for_by_its_prefix(prefix, factor):
    assert _hh(weights.read({"state": EMA}, prefix)) == pytest.approx(factor * _hh(ONE))


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        (None, r"several recurrent layers: give prefix=, one of model\.rnn, ema\.rnn$"),
        ("rnn", r"several RNNs under the prefix 'rnn': give one of model\.rnn, ema\.rnn"),
        ("em", "no RNN under the prefix 'em'"),
        ("", "no RNN under the prefix ''"),
    ],
)
def test_which_of_several_is_not_guessed(prefix, message):
    with pytest.raises(UsageError, match=message):
        weights.read(EMA, prefix)
    for prefix in ("zzz", "..", "/"):
        with pytest.raises(UsageError, match=r": there is \(no prefix\)$"):
            weights.read(ONE, prefix)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("left", ["bias_ih", "bias_hh"])
def test_one_bias_is_told_as_such(kind, layers, left):
    state = {k: v for k, v in _state(kind, layers=layers).items() if not k.startswith(left)}
    with pytest.raises(UsageError, match=f"{left}_l0.* missing: zeros if the model has one bias"):
        weights.infer_config(weights.read(state))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", ["weight_ih_l0", "weight_ih_l1", "weight"])
def test_transposed_weights_are_told_as_such(kind, which):
    state = _state(kind, layers=2, bidirectional=True)
    turned = {k: v.T if k.startswith(which) and v.ndim == 2 else v for k, v in state.items()}
    with pytest.raises(UsageError, match=r"\.T \(\d+, \d+\) would fit: are all weights trans"):
        weights.infer_config(weights.read(turned), kind)


def test_a_cell_with_one_bias_is_read_where_it_has_no_gates():
    cell = {n.removesuffix("_l0"): v for n, v in _state().items() if n.startswith("weight")}
    for before in ("", "cell."):
        state = {before + n: v for n, v in cell.items()} | {before + "bias": np.ones(4, "f4")}
        found = weights.read(state)
        assert weights.infer_config(found).bias
        assert np.array_equal(found["bias_ih_l0"], np.ones(4))
        assert not found["bias_hh_l0"].any()
        state = {n: np.tile(v, (3, 1)) if v.ndim == 2 else v for n, v in state.items()}
        with pytest.raises(UsageError, match="one bias, named bias: if its gates"):
            weights.read(state)
