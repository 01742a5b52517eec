"""What was read from elsewhere, steps, rows, gates, units, columns: by wrong implementations."""

import re

import pytest
import wrong_implementations
from conftest import evaluate

from rnnparity.cells.config import RNNConfig
from rnnparity.problems.cases import Case

KINDS = ("rnn", "gru", "lstm")


def case_of(kind, dtype="float32", **given):
    config = RNNConfig(input_size=9, hidden_size=16, kind=kind, **given)
    return Case(config=config, T=12, B=4, dtype=dtype)


def said_of(folder, wrong, case):
    """Return why a wrong implementation fails, without z."""
    path = wrong_implementations.write(folder, wrong, case.config.kind)
    judgement = evaluate(str(path), "cpu", case)
    assert judgement.verdict == "fail", judgement.reason
    return re.sub(r" \(within [^)]* units\)", "", judgement.reason)


def of_x(changed):
    return f"def read(x, states, cell): return {changed}, states, cell"


def of_parameter(name, changed):
    """A parameter, shaped `[gates, H, ...]`, as `a`, of which something is made."""
    return f"""
def read(x, states, cell):
    H = cell.weight_hh.shape[1]
    parameter = cell.{name}
    a = parameter.reshape(-1, H, *parameter.shape[1:]).copy()
    {changed}
    return x, states, cell._replace({name}=a.reshape(parameter.shape))"""


READ = {
    "the input rolled by 3 along the steps, cyclically": of_x("np.roll(x, 3, 0)"),
    "the input of the step before at every 2nd step from 1 on": of_x(
        "x[np.arange(len(x)) // 2 * 2]"
    ),
    "the input of the first of every 4 steps": of_x("x[np.arange(len(x)) // 4 * 4]"),
    "the input of 8 steps before from step 8 on": of_x("x[np.arange(len(x)) % 8]"),
    "the input's neighbouring rows exchanged": of_x("x[:, [1, 0, 3, 2][: x.shape[1]]]"),
    "the input of row 0 in row 3 (the last)": of_x("x[:, [0, 1, 2, 0][: x.shape[1]]]"),
    "weight_ih's units 0 to 7 and 8 to 15 exchanged": of_parameter(
        "weight_ih", "a = np.roll(a, 8, 1)"
    ),
    "bias_hh of 8 units before from unit 8 on": of_parameter("bias_hh", "a[:, 8:] = a[:, :8]"),
    "bias_hh left out from unit 12 on": of_parameter("bias_hh", "a[:, 12:] = 0"),
    "column 6 of weight_ih left out": of_parameter("weight_ih", "a[..., 6] = 0"),
    "columns from 12 on of weight_hh left out": of_parameter("weight_hh", "a[..., 12:] = 0"),
    "columns up to 3 of weight_hh left out": of_parameter("weight_hh", "a[..., :4] = 0"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", READ)
def test_what_was_read_from_elsewhere_is_told(tmp_path, what, kind):
    reason = said_of(tmp_path, READ[what], case_of(kind))
    assert reason.startswith(f"equals the recurrence with {what};")


@pytest.mark.parametrize("kind", ["rnn", "gru"])
def test_it_is_told_in_double_precision(tmp_path, kind):
    for what in list(READ)[::3]:
        assert f"with {what};" in said_of(tmp_path, READ[what], case_of(kind, "float64"))


GATES = {
    "the gates of weight_ih in the order": of_parameter("weight_ih", "a[[0, 1]] = a[[1, 0]]"),
    "the gates of bias_hh in the order": of_parameter("bias_hh", "a[[0, 1]] = a[[1, 0]]"),
}


@pytest.mark.parametrize("what", GATES)
def test_gates_of_one_parameter_are_told(tmp_path, what):
    for kind, order in (("gru", "z r n"), ("lstm", "f i g o")):
        reason = said_of(tmp_path, GATES[what], case_of(kind))
        if kind == "gru" or "bias" not in what:
            assert reason.startswith(f"equals the recurrence with {what} {order};")


def test_units_of_one_gate_are_told(tmp_path):
    wrong = of_parameter("bias_hh", "a[1, 8:] = a[1, :8]")
    says = "equals the recurrence with bias_hh of 8 units before from unit 8 on, in gate z;"
    assert said_of(tmp_path, wrong, case_of("gru")).startswith(says)


def test_rows_of_states_are_told(tmp_path):
    wrong = "def read(x, states, cell): return x, [s[[0] * len(s)] for s in states], cell"
    says = "equals the recurrence with the initial state of row 0"
    for kind in ("gru", "lstm"):
        assert said_of(tmp_path, wrong, case_of(kind)).startswith(says)


def test_both_directions_read_so(tmp_path):
    says = "equals the recurrence with the input rolled by 2 along the steps, cyclically"
    reason = said_of(tmp_path, of_x("np.roll(x, 2, 0)"), case_of("gru", bidirectional=True))
    assert reason.startswith(f"{says}, in every layer;")


def test_the_lowest_wrong_layer_of_a_stack_is_told(tmp_path):
    """Its final states show what is done in every layer; those above are made from them."""
    wrong = """
right = layer
def layer(x, *given):
    output, h_n = right(x, *given)
    order = [1, 0, 3, 2][: len(h_n)]
    return output[:, order], h_n[order]"""
    reason = said_of(tmp_path, wrong, case_of("gru", num_layers=3))
    assert "h_n of layer 0 equals the truth with neighbouring rows exchanged;" in reason


NOTHING = {
    "a bias a little off": of_parameter("bias_ih", "a += a.dtype.type(0.01)"),
    "a gate's bias a little off": of_parameter("bias_ih", "a[0] += a.dtype.type(0.01)"),
    "a weight a little off": of_parameter("weight_hh", "a *= a.dtype.type(1.001)"),
    "noise in the input": of_x(
        "x + np.random.default_rng(0).standard_normal(x.shape).astype(x.dtype)"
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", NOTHING)
def test_what_is_merely_off_is_no_reading(tmp_path, what, kind):
    reason = said_of(tmp_path, NOTHING[what], case_of(kind))
    assert reason.startswith("leaves the recurrence at step 0")
    assert "equal" not in reason
