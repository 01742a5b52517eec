"""What is said of a failure: what is off, what is right, and nothing that was not shown."""

import numpy as np
import pytest
import wrong_implementations
from conftest import evaluate, reference_of

import rnnparity
from rnnparity import assert_parity
from rnnparity.cells.config import RNNConfig
from rnnparity.implementations.outcome import Outcome
from rnnparity.judging import precision
from rnnparity.judging.verdict import judge
from rnnparity.problems.arrays import build
from rnnparity.problems.cases import Case

PLAIN = Case(config=RNNConfig(input_size=8, hidden_size=16), T=12, B=4)
RELU = PLAIN.replace(config=RNNConfig(input_size=8, hidden_size=16, nonlinearity="relu"))
TINY = PLAIN.replace(regime="tiny")
SATURATED = PLAIN.replace(regime="saturated")
DEEP = PLAIN.replace(config=RNNConfig(input_size=8, hidden_size=16, num_layers=2))


def said_of(folder, wrong, *cases):
    """Return the judgement of the last case, after the others were run by the same instance."""
    path = str(wrong_implementations.write(folder, wrong))
    return [evaluate(path, "cpu", case) for case in cases][-1]


def test_what_the_wrong_ones_are_made_of_is_right(tmp_path):
    for case in (PLAIN, RELU, TINY, SATURATED, DEEP):
        judgement = said_of(tmp_path, "", case)
        assert judgement.verdict == "pass", judgement.reason


# Each is right at the first call of its kind, or at all but the first.
KEPT = {
    "the biases of the first call": """
def read(x, h0, cell):
    calls.append((cell.bias_ih, cell.bias_hh))
    first = next(one for one in calls if one[0].shape == cell.bias_ih.shape)
    return x, h0, cell._replace(bias_ih=first[0], bias_hh=first[1])""",
    "the weights of the first call": """
def read(x, h0, cell):
    calls.append(cell)
    return x, h0, next(c for c in calls if c.weight_ih.shape == cell.weight_ih.shape)""",
    "the state of the call before": """
def read(x, h0, cell):
    return x, calls[-1] if calls and calls[-1].shape == h0.shape else h0, cell
def returned(output, h_n):
    calls.append(h_n)
    return output, h_n""",
    "the first initial state": """
def read(x, h0, cell):
    calls.append(h0)
    return x, next(h for h in calls if h.shape == h0.shape), cell""",
    "the first input": """
def read(x, h0, cell):
    calls.append(x)
    return next(one for one in calls if one.shape == x.shape), h0, cell""",
    "the output of the call before, added": """
def returned(output, h_n):
    calls.append(output)
    last = calls[-2] if len(calls) > 1 and calls[-2].shape == output.shape else 0
    return output + last * 0.5, h_n""".replace("0.5", "np.float32(0.5)"),
    "a counter of calls in the bias": """
def read(x, h0, cell):
    calls.append(0)
    return x, h0, cell._replace(bias_ih=cell.bias_ih * (1 + (len(calls) > 1)))""",
    "an attribute of the function": """
def read(x, h0, cell):
    read.scale = getattr(read, "scale", np.float32(1.001)) / np.float32(1.001)
    return x * read.scale, h0, cell""",
    "a buffer that is not cleared": """
def pre_activation(x_t, h, cell):
    a = x_t @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh
    if len(calls) > 12:
        a = a + calls[-12][0, 0]
    calls.append(a)
    return a""",
    "a default argument": """
def read(x, h0, cell, kept=[]):
    kept.append(cell.weight_hh)
    return x, h0, cell._replace(weight_hh=kept[0] if kept[0].shape == (16, 16) else kept[-1])""",
}


@pytest.mark.parametrize("wrong", KEPT.values(), ids=KEPT)
def test_what_earlier_calls_left_behind_is_blamed_on_no_operation(tmp_path, wrong):
    judgement = said_of(tmp_path, wrong, PLAIN, PLAIN.replace(seed=1))
    assert judgement.verdict == "fail"
    assert "depends on earlier calls: right at the first call" in judgement.reason
    assert "alone" not in judgement.reason


def test_a_first_call_that_is_wrong_is_told_from_later_ones(tmp_path):
    wrong = """
def read(x, h0, cell):
    calls.append(1)
    return x, h0 if len(calls) > 1 else h0 + np.float32(0.1), cell"""
    judgement = said_of(tmp_path, wrong, PLAIN)
    assert "wrong at the first call, right at the second" in judgement.reason


def test_a_state_that_only_a_second_call_shows_is_told(tmp_path):
    """The first forward pass is right; the one that gradients are taken of is the second."""
    judgement = said_of(tmp_path, KEPT["the state of the call before"], PLAIN)
    assert "right at the first call of a fresh instance, wrong at the second" in judgement.reason
    assert judgement.reason.startswith("the same input twice gives another result")


@pytest.mark.parametrize("parity", [0, 1])
def test_a_state_that_only_one_layer_alone_shows_is_told(tmp_path, parity):
    """Two layers, and what is wrong at every second call is so in the same one every time."""
    wrong = f"""
def read(x, h0, cell):
    calls.append(1)
    return x, h0 if len(calls) % 2 == {parity} else h0 + np.float32(0.1), cell"""
    judgement = said_of(tmp_path, wrong, DEEP)
    assert "one layer alone depends on earlier calls" in judgement.reason
    assert "is off" not in judgement.reason.split("one layer")[1].split("output[")[0]


def test_chance_is_told(tmp_path):
    wrong = "def read(x, h0, cell): return x + np.random.rand(*x.shape).astype(x.dtype), h0, cell"
    judgement = said_of(tmp_path, wrong, PLAIN)
    assert "depends on earlier calls, or on chance" in judgement.reason


def test_a_worker_asks_a_fresh_instance(tmp_path):
    path = wrong_implementations.write(tmp_path, KEPT["the first initial state"])
    cases = [PLAIN, PLAIN.replace(seed=1)]
    run = rnnparity.check(path, cases=cases, out=tmp_path / "run")
    assert run.records[0].verdict == "pass"
    assert "right at the first call of a fresh instance" in run.records[1].reason


def test_a_neighbour_that_keeps_something_is_fresh_as_well(tmp_path):
    (tmp_path / "neighbour_that_keeps.py").write_text("kept = []")
    wrong = """
import neighbour_that_keeps
calls = neighbour_that_keeps.kept""" + KEPT["the first initial state"]
    judgement = said_of(tmp_path, wrong, PLAIN, PLAIN.replace(seed=1))
    assert "depends on earlier calls" in judgement.reason


OF_X, OF_H0, OF_CELL = "of_x", "of_h0", "of_cell"
GRADIENTS = {
    "of_cell[3] = of_cell[3] * np.float32(1 + 1e-4)": ("bias_hh", "x, h0, weight_ih, weight_hh"),
    "of_cell[2] = of_cell[2] + np.float32(1e-3)": ("bias_ih", "x, h0, weight_ih, weight_hh"),
    "of_cell[1] = of_cell[1] * np.float32(1 - 1e-4)": ("weight_hh", "x, h0, weight_ih, bias_ih"),
    "of_cell[1][0] = 0": ("weight_hh", "x, h0, weight_ih, bias_ih, bias_hh"),
    "of_cell[0] = of_cell[0][:, ::-1].copy()": ("weight_ih", "x, h0, weight_hh, bias_ih"),
    "of_x = of_x * np.float32(1.001)": ("x", "h0, weight_ih, weight_hh, bias_ih, bias_hh"),
    "of_x[0] = 0": ("x", "h0, weight_ih, weight_hh, bias_ih, bias_hh"),
    "of_h0 = -of_h0": ("h0", "x, weight_ih, weight_hh, bias_ih, bias_hh"),
    "of_h0 = of_h0[::-1].copy()": ("h0", "x, weight_ih, weight_hh, bias_ih, bias_hh"),
    "of_x[3, 1] += 1; of_cell[0][2, 2] -= 1": ("x, weight_ih", "h0, weight_hh, bias_ih, bias_hh"),
}


@pytest.mark.parametrize("case", [PLAIN, RELU, DEEP], ids=["plain", "relu", "deep"])
@pytest.mark.parametrize("wrong", GRADIENTS)
def test_gradients_that_are_off_are_told_from_those_that_are_right(tmp_path, wrong, case):
    source = f"def gradients(of_x, of_h0, of_cell): {wrong}; return of_x, of_h0, of_cell"
    judgement = said_of(tmp_path, source, case)
    off, right = GRADIENTS[wrong]
    assert judgement.verdict == "fail"
    assert "alone" not in judgement.reason
    if case != DEEP:  # where grad_x of the second layer goes on into the first
        assert f"forward pass right; gradients of {off} off; those of {right}" in judgement.reason
    else:
        assert judgement.reason.startswith("forward pass right")


def test_a_layer_is_named_where_only_its_gradient_is_off(tmp_path):
    wrong = """
def gradients(of_x, of_h0, of_cell):
    if of_cell[0].shape == (16, 16):
        of_cell[3] = of_cell[3] + np.float32(0.1)
    return of_x, of_h0, of_cell"""
    reason = said_of(tmp_path, wrong, DEEP).reason
    assert "gradients of bias_hh_l1 off; those of x, h0, weight_ih, weight_hh, bias_ih" in reason
    assert "bias_hh_l0" in reason


NAMED = {
    "the gradient of h_n counted twice": "def received(go, gn, o): return go, gn + gn",
    "the gradient of the output counted twice": "def received(go, gn, o): return go + go, gn",
    "the gradient of the output taken a step late": (
        "def received(go, gn, o): return np.roll(go, 1, 0), gn"
    ),
    "the gradient of the output taken a step early": (
        "def received(go, gn, o): return np.roll(go, -1, 0), gn"
    ),
    "every gradient doubled": (
        "def gradients(of_x, of_h0, cell): return 2 * of_x, 2 * of_h0, [2 * g for g in cell]"
    ),
    "the derivative of tanh as 1 / (1 - h^2)": "def slope(h, f): return 1 / (1 - h * h)",
    "the derivative of tanh taken of h_t in place of a_t": (
        "def slope(h, f): return 1 - np.tanh(h) ** 2"
    ),
    "grad_weight_hh with the last state in place of h0": (
        "def before(h0, output): return np.roll(output, 1, 0)"
    ),
    "gradients of weights and biases clipped to 5": (
        "def gradients(of_x, of_h0, cell): return of_x, of_h0, [g.clip(-5, 5) for g in cell]"
    ),
    "gradients of weights and biases clipped to 1": (
        "def gradients(of_x, of_h0, cell): return of_x, of_h0, [g.clip(-1, 1) for g in cell]"
    ),
    "the derivative of tanh at the state before": """
def slope(h, nonlinearity):
    return 1 - np.concatenate((FIRST[0][None], h[:-1])) ** 2
def before(h0, output):
    return np.concatenate((h0[None], output[:-1]))
FIRST = [None]
right_backward = layer_backward
def layer_backward(grad_output, grad_h_n, x, h0, *rest):
    FIRST[0] = h0
    return right_backward(grad_output, grad_h_n, x, h0, *rest)""",
    "the nonlinearity left out": "def tanh(a): return a",
    "the input rolled by a step, the last step first": (
        "def read(x, h0, cell): return np.roll(x, 1, 0), h0, cell"
    ),
    "the input a step early, the first step last": (
        "def read(x, h0, cell): return np.roll(x, -1, 0), h0, cell"
    ),
    "every row given the input of the row before": (
        "def read(x, h0, cell): return np.roll(x, 1, 1), h0, cell"
    ),
    "every row given the input of the row after": (
        "def read(x, h0, cell): return np.roll(x, -1, 1), h0, cell"
    ),
    "the rows of the batch in reversed order": (
        "def read(x, h0, cell): return x[:, ::-1], h0, cell"
    ),
    "the sequence read backwards": "def read(x, h0, cell): return x[::-1], h0, cell",
    "the sequence read backwards and the output turned round": """
def read(x, h0, cell): return x[::-1], h0, cell
def returned(output, h_n): return output[::-1].copy(), h_n""",
}
NAMED_RELU = {
    "the derivative of relu left out": "def slope(h, f): return np.ones_like(h)",
    "the derivative of tanh taken for that of relu": "def slope(h, f): return 1 - h * h",
}


@pytest.mark.parametrize("case", [PLAIN, PLAIN.replace(dtype="float64", seed=3)], ids=["32", "64"])
@pytest.mark.parametrize("name", NAMED)
def test_a_common_mistake_is_named(tmp_path, name, case):
    reason = said_of(tmp_path, NAMED[name], case).reason
    assert reason.startswith(f"equals the recurrence with {name} (within ")


@pytest.mark.parametrize("name", NAMED_RELU)
def test_a_common_mistake_with_relu_is_named(tmp_path, name):
    reason = said_of(tmp_path, NAMED_RELU[name], RELU).reason
    assert reason.startswith(f"equals the recurrence with {name} (within ")


ALONE = {
    "tanh loses digits near zero": (
        TINY,
        "def tanh(a): return (np.exp(2 * a) - 1) / (np.exp(2 * a) + 1)",
    ),
    "tanh loses digits near zero, as": (
        TINY,
        "def tanh(a): return 2 / (1 + np.exp(-2 * a)) - 1",
    ),
    "tanh alone is off near zero": (
        TINY,
        "def tanh(a): return np.where(np.abs(a) < 1e-3, 0, np.tanh(a)).astype(a.dtype)",
    ),
    "tanh alone is off around one": (PLAIN, "def tanh(a): return a - a**3 / 3 + 2 * a**5 / 15"),
    "tanh alone is off around one: of": (PLAIN, "def tanh(a): return np.sin(a)"),
    "tanh alone is off where it levels off": (
        SATURATED,
        "def tanh(a): return np.where(np.abs(a) > 6, np.sign(a) * np.float32(0.99), np.tanh(a))",
    ),
    "tanh alone is off where it levels off: of": (
        SATURATED,
        "def tanh(a): return np.where(np.abs(a) > 9, 0 * a, np.tanh(a))",
    ),
    "tanh of large numbers is not finite, as exp(2a) overflows": (
        SATURATED.replace(regime="large"),  # digits are lost near zero, too: no matter
        "def tanh(a): return (np.exp(2 * a) - 1) / (np.exp(2 * a) + 1)",
    ),
    "tanh of large numbers is not finite": (
        PLAIN.replace(regime="saturated", config=RNNConfig(input_size=8, hidden_size=16)),
        """
def tanh(a):
    a = np.where(np.abs(a) < 1, a, 60 * a)
    return np.where(np.abs(a) < 1, np.tanh(a), (np.exp(2 * a) - 1) / (np.exp(2 * a) + 1))""",
    ),
    "relu of negative numbers alone is off": (
        RELU,
        "def relu(a): return np.where(a > 0, a, np.float32(0.02) * a)",
    ),
    "relu of negative numbers alone is off: of": (
        RELU,
        "def relu(a): return np.where(a > 0, a, np.expm1(a))",
    ),
    "relu alone is off": (RELU, "def relu(a): return np.clip(a, 0, 0.5).astype(a.dtype)"),
    "the input product alone is off": (
        PLAIN,
        """
def pre_activation(x_t, h, cell):
    from_x = x_t @ cell.weight_ih.T * x_t.dtype.type(1.001)
    return from_x + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh""",
    ),
    "the recurrent product alone is off": (
        PLAIN,
        """
def pre_activation(x_t, h, cell):
    from_h = h @ cell.weight_hh.T * h.dtype.type(1.001)
    return x_t @ cell.weight_ih.T + cell.bias_ih + from_h + cell.bias_hh""",
    ),
    "the recurrent product alone is off;": (
        RELU,
        """
def pre_activation(x_t, h, cell):
    from_h = h @ np.abs(cell.weight_hh.T)
    return x_t @ cell.weight_ih.T + cell.bias_ih + from_h + cell.bias_hh""",
    ),
    "the sum of the biases alone is off": (
        PLAIN,
        """
def pre_activation(x_t, h, cell):
    return x_t @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh**2""",
    ),
    "products, biases and tanh are right alone, and so is one step": (
        PLAIN,
        """
def returned(output, h_n):
    output[2::3] *= output[1:-1:3]
    return output, h_n""",
    ),
    "a row alone is right, 16 rows together are not": (
        PLAIN,
        """
def read(x, h0, cell):
    return x + x.mean(axis=1, keepdims=True) * (x.shape[1] > 1), h0, cell""",
    ),
}


@pytest.mark.filterwarnings("ignore:.* encountered in")
@pytest.mark.parametrize("says", ALONE)
def test_an_operation_that_is_off_alone_is_named(tmp_path, says):
    case, wrong = ALONE[says]
    judgement = said_of(tmp_path, wrong, case)
    assert judgement.verdict == "fail"
    assert f"; {says}" in f"; {judgement.reason}"


@pytest.mark.parametrize("says", ["tanh", "product"])
def test_with_one_nonlinearity_a_product_is_told_from_it(tmp_path, says):
    only = 'nonlinearities = ("tanh",)\n'
    wrong = {
        "tanh": "def tanh(a): return (np.exp(2 * a) - 1) / (np.exp(2 * a) + 1)",
        "product": "def sum_of(a, weight): return a @ weight.T * np.float32(1 + 1e-4)",
    }
    reason = said_of(tmp_path, only + wrong[says], TINY).reason
    assert ("tanh loses digits" in reason) == (says == "tanh")
    assert ("the input product alone is off" in reason) == (says == "product")


BROKEN = {
    "raises": ("error", "raise ValueError('no gradients')", "raises ValueError: no gradients"),
    "stops": ("error", "raise SystemExit(3)", "raises SystemExit(3)"),
    "shape of x": ("fail", "return of_x[:, :, 1:], of_h0, of_cell", "grad_x has shape"),
    "shape of h0": ("fail", "return of_x, of_h0[:, 1:], of_cell", "grad_h0 has shape"),
    "dtype": ("fail", "return of_x.astype('float64'), of_h0, of_cell", "grad_x is float64"),
    "dtype of a weight": (
        "fail",
        "return of_x, of_h0, [of_cell[0].astype('float64'), *of_cell[1:]]",
        "grad_weight_ih_l0 is float64",
    ),
    "transposed": (
        "fail",
        "return of_x, of_h0, [of_cell[0].T, *of_cell[1:]]",
        "grad_weight_ih_l0 has shape (8, 16), expected (16, 8)",
    ),
    "a list": ("fail", "return of_x.tolist(), of_h0, of_cell", "expected a numpy.ndarray"),
    "one too few": ("fail", "return of_x, of_h0", "returned a tuple of 2, expected (grad_x,"),
    "nothing": ("fail", "return None", "returned a NoneType, expected (grad_x,"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_breaks_while_gradients_are_taken_hides_no_forward_pass(tmp_path, kind):
    verdict, wrong, says = BROKEN[kind]
    source = f"def gradients(of_x, of_h0, of_cell): {wrong}"
    judgement = said_of(tmp_path, source, PLAIN)
    assert judgement.verdict == verdict
    assert says in judgement.reason
    assert "forward pass" in judgement.reason.split("right")[0]
    assert judgement.quantities["output"].z < 10

    judgement = said_of(tmp_path, source + "\ndef tanh(a): return np.sin(a)", PLAIN)
    assert judgement.verdict == "fail"
    assert "tanh alone is off" in judgement.reason
    if verdict == "error":
        assert f"while gradients were taken: {says}" in judgement.reason


IN_PLACE = {
    "output": "output *= output",
    "grad_output": "grad_output[-1] += grad_h_n",
    "grad_h_n": "grad_h_n *= 2",
}


@pytest.mark.parametrize("argument", IN_PLACE)
def test_a_backward_pass_that_writes_to_an_argument_fails(tmp_path, argument):
    wrong = f"""
right_backward = layer_backward
def layer_backward(grad_output, grad_h_n, x, h0, output, cell, nonlinearity):
    found = right_backward(grad_output, grad_h_n, x, h0, output, cell, nonlinearity)
    {IN_PLACE[argument]}
    return found"""
    judgement = said_of(tmp_path, wrong, PLAIN)
    assert judgement.verdict == "fail"
    assert f"layer_backward changed its argument {argument} in place" in judgement.reason


def test_a_state_written_in_place_is_told_with_its_line_and_the_forward_pass(tmp_path):
    source = """
import torch

framework = "torch"


def layer(x, h0, cell, nonlinearity):
    h, output = h0.clone(), []
    for x_t in x:
        a = x_t @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh
        h.copy_(torch.tanh(a))
        output.append(h.clone())
    return torch.stack(output), h
"""
    path = tmp_path / "state_in_place.py"
    path.write_text(source)
    told = [evaluate(str(path), "cpu", case) for case in (PLAIN, PLAIN.replace(T=5, B=2))]
    assert {judgement.verdict for judgement in told} == {"error"}
    for judgement in told:
        assert judgement.reason.startswith("the forward pass is right (within ")
        assert "at state_in_place.py:10 (write no state in place" in judgement.reason
    shapeless = {judgement.reason.partition(")")[2] for judgement in told}
    assert len(shapeless) == 1


def test_a_wrong_shape_is_found_before_gradients_are_taken(tmp_path):
    path = tmp_path / "last_only.py"
    path.write_text("""
import jax
import jax.numpy as jnp

framework = "jax"


def rnn(x, h0, weights, config, lengths):
    h = h0[0]
    for x_t in x:
        from_x = x_t @ weights["weight_ih_l0"].T + weights["bias_ih_l0"]
        h = jnp.tanh(from_x + h @ weights["weight_hh_l0"].T + weights["bias_hh_l0"])
    return h, h[None]
""")
    judgement = evaluate(str(path), "cpu", PLAIN)
    assert judgement.reason == "output has shape (4, 16), expected (12, 4, 16)"


def test_where_there_is_nothing_to_round_no_units_are_told():
    against = reference_of(RELU)
    arrays = {n: v.astype(np.float32) for n, v in against.true.values.items()}
    zero = tuple(np.argwhere(against.true.values["output"] == 0)[0])
    arrays["output"][zero] = 0.25
    reason = judge(RELU, Outcome(arrays), against).reason
    assert reason.endswith("is 0.25, the truth is 0, where there is nothing to round")


CANARY = precision.case("relu")


def _products(x, h, w, r):
    return (np.maximum(x @ w.T + h @ r.T, 0)[None]).astype(np.float32)


def _operands():
    problem = build(CANARY)
    weight_ih, weight_hh, *_ = problem.weights.values()
    return [a.astype(np.float64) for a in (problem.x[0], problem.h0[0], weight_ih, weight_hh)]


def _cut(a, bits):
    mantissa, exponent = np.frexp(a)
    return np.ldexp(np.trunc(np.ldexp(mantissa, bits)), exponent - bits)


def _nearest(a, bits):
    mantissa, exponent = np.frexp(a)
    return np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits)


def _half(a):
    return a.astype(np.float16).astype(np.float64)


RAN_IN = {
    "as they are": ("float32", lambda x, h, w, r: (x, h, w, r)),
    "cut to TF32": ("tf32", lambda *given: [_cut(a, 11) for a in given]),
    "nearest in TF32": ("tf32", lambda *given: [_nearest(a, 11) for a in given]),
    "cut to bfloat16": ("bfloat16", lambda *given: [_cut(a, 8) for a in given]),
    "nearest in bfloat16": ("bfloat16", lambda *given: [_nearest(a, 8) for a in given]),
    "float16": ("float16", lambda *given: [_half(a) for a in given]),
    "the input product in TF32": (
        "tf32",
        lambda x, h, w, r: (_nearest(x, 11), h, _nearest(w, 11), r),
    ),
    "the recurrent product in bfloat16": (
        "bfloat16",
        lambda x, h, w, r: (x, _nearest(h, 8), w, _nearest(r, 8)),
    ),
    "one in TF32, one in bfloat16": (
        "bfloat16",
        lambda x, h, w, r: (_cut(x, 11), _nearest(h, 8), _cut(w, 11), _nearest(r, 8)),
    ),
}


@pytest.mark.parametrize("how", RAN_IN)
def test_the_canary_knows_a_precision_by_its_rounding(how):
    name, rounded = RAN_IN[how]
    found = _products(*rounded(*_operands()))
    assert precision.precision_of(found, build(CANARY), CANARY) == name


def _noisy(size):
    drawn = np.random.default_rng(0).standard_normal((1, 16, 64))
    return lambda found: found * (1 + size * drawn).astype(np.float32)


NO_PRECISION = {
    "noise of 1e-6": _noisy(1e-6),
    "noise of TF32's size": _noisy(2.0**-12),
    "noise of bfloat16's size": _noisy(2.0**-9),
    "noise of float16's size, absolute": lambda found: found + np.float32(1e-8),
    "a factor": lambda found: found * np.float32(1.001),
    "another factor": lambda found: found * np.float32(1 - 1e-6),
    "the result rounded to TF32": lambda found: _nearest(found, 11).astype(np.float32),
    "the result rounded to bfloat16": lambda found: _nearest(found, 8).astype(np.float32),
    "columns in another order": lambda found: found[..., ::-1],
    "nothing": lambda found: 0 * found,
    "not a number": lambda found: found * np.float32("nan"),
}


@pytest.mark.parametrize("how", NO_PRECISION)
def test_the_canary_says_nothing_of_what_no_precision_makes(how):
    found = NO_PRECISION[how](_products(*_operands()))
    assert precision.precision_of(found, build(CANARY), CANARY) is None


@pytest.mark.parametrize("rounded", ["weights", "inputs"])
def test_one_rounded_operand_is_no_precision_of_products(rounded):
    x, h, w, r = _operands()
    if rounded == "weights":
        found = _products(x, h, _nearest(w, 11), _nearest(r, 11))
    else:
        found = _products(_nearest(x, 8), _nearest(h, 8), w, r)
    assert precision.precision_of(found, build(CANARY), CANARY) is None


def test_an_assertion_in_a_test_explains_by_the_module_of_the_function(tmp_path, monkeypatch):
    wrong = "def tanh(a): return np.sin(a)"
    path = wrong_implementations.write(tmp_path, wrong)
    monkeypatch.syspath_prepend(tmp_path)
    module = pytest.importorskip(path.stem)
    weights = {name: np.float32(v) for name, v in build(PLAIN).weights.items()}
    for implementation in (module, module.layer):
        with pytest.raises(AssertionError, match="tanh alone is off around one"):
            assert_parity(implementation, weights=weights)


def test_without_a_module_to_import_anew_no_operation_is_blamed():
    def layer(x, h0, cell, nonlinearity):
        output, h = [], h0
        for x_t in x:
            h = np.sin(x_t @ cell[0].T + cell[2] + h @ cell[1].T + cell[3])
            output.append(h)
        return np.stack(output), h

    weights = {name: np.float32(v) for name, v in build(PLAIN).weights.items()}
    with pytest.raises(AssertionError, match="leaves the recurrence at step 0") as raised:
        assert_parity(layer, weights=weights, framework="numpy")
    assert "alone" not in str(raised.value)
