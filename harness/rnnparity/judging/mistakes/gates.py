"""Mistakes of gated cells: orders of gates, biases, steps nearly right, states mixed up."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rnnparity.cells import network
from rnnparity.cells.config import KINDS, Cell
from rnnparity.cells.operations import logistic
from rnnparity.cells.program import Value
from rnnparity.cells.recurrence import Trace, layer, layer_backward, traced_step
from rnnparity.cells.step import Step, sigmoid, split, tanh
from rnnparity.judging.mistakes.forward import square, transposed
from rnnparity.judging.mistakes.mistake import GATED, Backward, Forward, Mistake, product
from rnnparity.problems.setup import Quantities, Setup
from rnnparity.types import Array

Values = Sequence[Value]


def _run(
    s: Setup,
    change: Callable[[Cell], Cell] = lambda cell: cell,
    step: Step | None = None,
    tape: list[network.Call] | None = None,
) -> tuple[Array, Any]:
    """Run a network with changed parameters, or another step."""
    traces = [Trace(change(cell), traced_step(s.config, step)) for cell in s.cells]
    return s.replace(cells=traces).run(layer, tape)


def _parameters(change: Callable[[Cell], Cell]) -> Forward:
    return lambda s: _run(s, change)


def _step(step: Step) -> Forward:
    return lambda s: _run(s, step=step)


def _backward(step: Step | None = None, change: Callable[[Setup], Setup] = lambda s: s) -> Backward:
    """The gradients with another step, whose values are right, or with other ones coming in."""

    def gradients(s: Setup) -> Quantities:
        tape: list[network.Call] = []
        changed = change(s)
        _run(changed, step=step, tape=tape)
        return changed.backward(layer_backward, tape)

    return gradients


def _reordered(order: str, kind: str) -> Callable[[Cell], Cell]:
    """Parameters whose rows, in torch's order of gates, are read as if they were in another's."""
    names = KINDS[kind].gates
    places = [order.index(name) for name in names]

    def change(cell: Cell) -> Cell:
        parts = [np.split(parameter, len(names)) for parameter in cell]
        return Cell(*(np.concatenate([each[place] for place in places]) for each in parts))

    return change


def _bias_into_input(cell: Cell) -> Cell:
    return cell._replace(bias_ih=cell.bias_ih + cell.bias_hh, bias_hh=np.zeros_like(cell.bias_hh))


def _candidate_without_bias(cell: Cell) -> Cell:
    r, z, n = np.split(cell.bias_hh, 3)
    return cell._replace(bias_hh=np.concatenate((r, z, np.zeros_like(n))))


def _forget_bias(cell: Cell) -> Cell:
    i, f, g, o = np.split(cell.bias_ih, 4)
    return cell._replace(bias_ih=np.concatenate((i, f + f.dtype.type(1), g, o)))


def _update_exchanged(x: Values, h: Values, before: Values) -> tuple[Value, ...]:
    r, z = sigmoid(x[0] + h[0]), sigmoid(x[1] + h[1])
    n = tanh(x[2] + r * h[2])
    return (z * n + (1 - z) * before[0],)


def _no_reset(x: Values, h: Values, before: Values) -> tuple[Value, ...]:
    z, n = sigmoid(x[1] + h[1]), tanh(x[2] + h[2])
    return ((1 - z) * n + z * before[0],)


def _reset_first(s: Setup) -> tuple[Array, Any]:
    """The reset gate on the state, before the product with it: the paper's, Keras's old form."""

    def reset_first(x: Array, h0: Array, cell: Cell) -> tuple[Array, Array]:
        weight_ih, weight_hh, bias_ih, bias_hh = cell
        H, h = h0.shape[1], h0
        from_x = product(x.reshape(-1, x.shape[2]), weight_ih.T).reshape(*x.shape[:2], -1)
        output = np.empty((*x.shape[:2], H), x.dtype)
        for t in range(len(x)):
            x_r, x_z, x_n = split(from_x[t] + bias_ih, 3)
            h_r, h_z, _ = split(product(h, weight_hh.T) + bias_hh, 3)
            r, z = logistic(x_r + h_r), logistic(x_z + h_z)
            n = np.tanh(x_n + product(r * h, weight_hh[2 * H :].T) + bias_hh[2 * H :])
            output[t] = h = ((1 - z) * n + z * h).astype(x.dtype)
        return output, h

    return s.run(reset_first)


def _hard(operation: str, kind: str) -> Forward:
    """Another function in place of the logistic one."""

    def of(a: Value) -> Value:
        return a.program.add(operation, a)

    def gru(x: Values, h: Values, before: Values) -> tuple[Value, ...]:
        r, z = of(x[0] + h[0]), of(x[1] + h[1])
        n = tanh(x[2] + r * h[2])
        return ((1 - z) * n + z * before[0],)

    def lstm(x: Values, h: Values, before: Values) -> tuple[Value, ...]:
        i, f, o = (of(x[k] + h[k]) for k in (0, 1, 3))
        c = f * before[1] + i * tanh(x[2] + h[2])
        return o * tanh(c), c

    return _step({"gru": gru, "lstm": lstm}[kind])


def _lstm(
    c_before: Callable[[Value], Value] = lambda c: c,
    h_of: Callable[[Value, Value, Value], Value] = lambda o, c, before: o * tanh(c),
    candidate: Callable[[Value], Value] = tanh,
) -> Step:
    """An LSTM's step with one of its places changed."""

    def step(x: Values, h: Values, before: Values) -> tuple[Value, ...]:
        i, f, o = (sigmoid(x[k] + h[k]) for k in (0, 1, 3))
        c = f * c_before(before[1]) + i * candidate(x[2] + h[2])
        return h_of(o, c, before[1]), c

    return step


def _detached(c: Value) -> Value:
    return c.program.add("detached", c)


def _nothing(c: Value) -> Value:
    return c.program.add("nothing", c)


def _states_exchanged(s: Setup) -> tuple[Array, Any]:
    output, (h_n, c_n) = _run(s)
    return output, (c_n, h_n)


def _no_grad_c_n(s: Setup) -> Setup:
    assert s.grad_c_n is not None
    return s.replace(grad_c_n=np.zeros_like(s.grad_c_n))


def _of(kind: str, name: str, bug: str, forward: Forward) -> Mistake:
    return Mistake(name, bug, forward, kinds=(kind,))


# Whose order of gates, other than torch's (r z n, i f g o), it is.
ORDERS = {
    "zrn": "weights from Keras or ONNX, whose order that is",
    "iofg": "weights from ONNX, whose order that is",
    "igfo": "weights from TensorFlow 1, whose order that is",
}

MISTAKES = (
    *(
        _of(
            kind,
            f"gates in the order {' '.join(order)}",
            ORDERS.get("".join(order), "weights laid out in another order than torch's"),
            _parameters(_reordered("".join(order), kind)),
        )
        for kind in ("gru", "lstm")
        for order in itertools.permutations(KINDS[kind].gates)
        if order != KINDS[kind].gates
    ),
    *(
        Mistake(
            f"each gate's {' and '.join(names)} transposed",
            "matrices kept the other way round",
            _parameters(transposed(*names)),
            when=square if "weight_ih" in names else None,
            kinds=GATED,
        )
        for names in (("weight_hh",), ("weight_ih",), ("weight_ih", "weight_hh"))
    ),
    _of(
        "gru",
        "bias_hh added to bias_ih, outside of the reset gate",
        "a port with one bias: Keras's reset_after=False, MLX's and Flax's other layout",
        _parameters(_bias_into_input),
    ),
    _of(
        "gru",
        "the candidate's part of bias_hh dropped",
        "Flax's nnx.GRUCell, which has none",
        _parameters(_candidate_without_bias),
    ),
    _of("gru", "z and 1 - z exchanged", "the paper's convention", _step(_update_exchanged)),
    _of("gru", "the reset gate left out", "a minimal gated unit", _step(_no_reset)),
    _of(
        "gru",
        "the reset gate before the recurrent product",
        "the paper's, Keras's reset_after=False, Haiku's",
        _reset_first,
    ),
    _of(
        "lstm", "1 added to the forget gate", "TensorFlow's forget_bias", _parameters(_forget_bias)
    ),
    _of(
        "lstm",
        "tanh left out around c",
        "a simplified output",
        _step(_lstm(h_of=lambda o, c, before: o * c)),
    ),
    _of(
        "lstm",
        "the output made of the c before",
        "c updated too late",
        _step(_lstm(h_of=lambda o, c, before: o * tanh(before))),
    ),
    _of(
        "lstm",
        "a logistic candidate",
        "one function for all four gates",
        _step(_lstm(candidate=sigmoid)),
    ),
    _of("lstm", "c not carried", "only h goes on", _step(_lstm(c_before=_nothing))),
    _of("lstm", "h_n and c_n exchanged", "a pair in the other order", _states_exchanged),
    *(
        _of(
            kind, f"the logistic function replaced by clip({formula}, 0, 1)", bug, _hard(name, kind)
        )
        for kind in ("gru", "lstm")
        for name, formula, bug in (
            ("hard sigmoid", "0.2 a + 0.5", "Keras 2's hard_sigmoid"),
            ("sixth sigmoid", "a / 6 + 0.5", "a mobile network's hardsigmoid"),
        )
    ),
    Mistake(
        "the gradient through c dropped",
        "c detached between steps",
        backward=_backward(_lstm(c_before=_detached)),
        kinds=("lstm",),
    ),
    Mistake(
        "the gradient of c_n ignored",
        "a backward pass that starts from h alone",
        backward=_backward(change=_no_grad_c_n),
        when=lambda case: not case.ragged,
        kinds=("lstm",),
    ),
)
