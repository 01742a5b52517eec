"""Inputs of a user: states of every kind are checked, and kept with the run."""

import numpy as np
import pytest

from rnnparity.cells.config import KINDS, RNNConfig, parameter_shapes
from rnnparity.errors import UsageError
from rnnparity.problems import given, weights
from rnnparity.problems.given import Sequences, Weights
from rnnparity.problems.weights import onnx_writer

T, B = 5, 3
STATE = np.arange(2 * B * 4, dtype="f8").reshape(2, B, 4)


def _kept(folder, kind):
    config = RNNConfig(kind=kind, input_size=2, hidden_size=4, bidirectional=True)
    parameters = {n: np.ones(s, "f4") for n, s in parameter_shapes(config).items()}
    kept = given.keep(Weights(parameters, kind=kind), folder)
    assert kept.config == config
    return kept


def _x():
    return np.ones((T, B, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_states_are_kept_with_the_input(tmp_path, kind):
    c0 = STATE + 1 if kind == "lstm" else None
    case = given.case(_kept(tmp_path, kind), Sequences(_x(), STATE, None, c0), tmp_path)
    assert case.h0
    assert case.config.kind == kind
    with np.load(case.inputs) as kept:
        assert np.array_equal(kept["h0"], STATE)
        assert ("c0" in kept) == (kind == "lstm")
        if kind == "lstm":
            assert np.array_equal(kept["c0"], STATE + 1)


def test_another_c0_is_another_input(tmp_path):
    kept = _kept(tmp_path, "lstm")
    cases = [
        given.case(kept, Sequences(_x(), STATE, None, c0), tmp_path) for c0 in (STATE, STATE + 1)
    ]
    assert cases[0].inputs != cases[1].inputs


@pytest.mark.parametrize(
    ("kind", "sequences", "message"),
    [
        ("rnn", Sequences(_x(), STATE, None, STATE), "c0 is given, but an RNN has no c"),
        ("gru", Sequences(_x(), STATE, None, STATE), "c0 is given, but a GRU has no c"),
        ("gru", Sequences(c0=STATE), "a GRU has no c"),
        ("lstm", Sequences(_x(), STATE), "an LSTM takes both"),
        ("lstm", Sequences(_x(), None, None, STATE), "an LSTM takes both"),
        ("lstm", Sequences(c0=STATE), "c0 or lengths are given without x"),
        ("lstm", Sequences(_x(), STATE, None, STATE[:1]), r"c0 has shape \(1, 3, 4\), expected"),
        ("lstm", Sequences(_x()[:, 0], STATE[:, 0], None, STATE), r"c0 .* expected \(2, 4\)"),
        ("lstm", Sequences(_x(), STATE, None, STATE * np.nan), "c0 has values that are not finite"),
        ("lstm", Sequences(_x(), STATE, None, STATE > 1), "c0 is bool, expected numbers"),
    ],
)
def test_states_that_do_not_fit_are_refused_in_one_line(tmp_path, kind, sequences, message):
    with pytest.raises(UsageError, match=message) as raised:
        given.case(_kept(tmp_path, kind), sequences, tmp_path)
    assert "\n" not in str(raised.value)


def test_states_in_an_onnx_model_go_with_an_input_as_a_pair(tmp_path):
    kept = _kept(tmp_path, "lstm")._replace(h0=STATE, c0=STATE + 1)
    case = given.case(kept, Sequences(_x()), tmp_path)
    with np.load(case.inputs) as found:
        assert np.array_equal(found["h0"], STATE)
        assert np.array_equal(found["c0"], STATE + 1)
    given.case(kept, Sequences(_x(), STATE, None, STATE + 1), tmp_path)  # the same, said again
    with pytest.raises(UsageError, match="h0 is given, but the model stores another"):
        given.case(kept, Sequences(_x(), 2 * STATE, None, STATE + 1), tmp_path)
    with pytest.raises(UsageError, match="an LSTM takes both"):
        given.case(kept, Sequences(_x(), STATE), tmp_path)


def test_an_onnx_model_is_kept_with_its_states(tmp_path):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    source = _kept(tmp_path, "lstm")
    onnx_writer.write(tmp_path / "a.onnx", weights.read(source.path), source.config)
    model = onnx.load(tmp_path / "a.onnx")
    (node,) = [node for node in model.graph.node if node.op_type == "LSTM"]
    for k, name in ((5, "h"), (6, "c")):
        node.input[k] = name
        state = onnx.numpy_helper.from_array((STATE + k).astype("f4"), name)
        model.graph.initializer.append(state)
    onnx.save(model, tmp_path / "b.onnx")
    kept = given.keep(Weights(tmp_path / "b.onnx"), tmp_path)
    assert kept.config == source.config
    assert np.array_equal(kept.h0, STATE + 5)
    assert np.array_equal(kept.c0, STATE + 6)
    with pytest.raises(UsageError, match="no GRU node"):
        given.keep(Weights(tmp_path / "b.onnx", kind="gru"), tmp_path)
