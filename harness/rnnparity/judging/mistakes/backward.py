"""Mistakes of the backward pass: the outputs are right, a gradient is not."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rnnparity.cells import network, recurrence
from rnnparity.cells.config import Cell
from rnnparity.cells.recurrence import Trace, traced_step
from rnnparity.judging.mistakes.forward import right_layer, rounded_to
from rnnparity.judging.mistakes.mistake import PLAIN, Backward, Mistake, product
from rnnparity.problems.setup import Quantities, Setup
from rnnparity.types import Array

Gradients = tuple[Array, Array, Cell]


def changed_backward(
    derivative: Callable[[Array], Array] | None = None,
    carry: Callable[[int, Array], Array] = lambda t, d: d,
    into: Callable[[Cell], Array] = lambda cell: cell.weight_hh,
) -> Callable[..., Gradients]:
    """Return the backward pass with a mistake put into one of its places.

    Args:
        derivative: the nonlinearity's, as a function of its value; None for the right one.
        carry: what of the gradient goes on from step t to the one before.
        into: the weight that carries it there.
    """

    def backward(
        grad_output: Array,
        grad_h_n: Array,
        x: Array,
        h0: Array,
        output: Array,
        cell: Cell,
        nonlinearity: str,
    ) -> Gradients:
        one = x.dtype.type(1)
        if derivative is not None and nonlinearity == "tanh":
            slope = derivative(output)
        else:
            slope = (
                one - output * output if nonlinearity == "tanh" else (output > 0).astype(x.dtype)
            )
        grad_a, d = np.empty_like(output), grad_h_n
        for t in reversed(range(len(x))):
            grad_a[t] = (grad_output[t] + d) * slope[t]
            d = carry(t, product(grad_a[t], into(cell)))
        flat = grad_a.reshape(-1, h0.shape[1])
        before = np.concatenate((h0[None], output[:-1])).reshape(flat.shape)
        bias = product(np.ones(len(flat), x.dtype), flat)
        weight_ih = product(flat.T, x.reshape(len(flat), -1))
        of_cell = Cell(weight_ih, product(flat.T, before), bias, bias.copy())
        return product(grad_a, cell.weight_ih), d, of_cell

    return backward


right_backward = changed_backward()


def right_gradients(s: Setup) -> Quantities:
    """The right gradients of a network of any kind."""
    if s.config.kind == "rnn":
        return with_backward(right_backward)(s)
    tape: list[network.Call] = []
    step = traced_step(s.config)
    s.replace(cells=[Trace(cell, step) for cell in s.cells]).run(recurrence.layer, tape)
    return s.backward(recurrence.layer_backward, tape)


def with_backward(backward: Callable[..., Gradients]) -> Backward:
    """A mistake inside a plain RNN's backward pass of one layer."""

    def gradients(s: Setup) -> Quantities:
        tape: list[network.Call] = []
        s.run(right_layer, tape)
        return s.backward(backward, tape)

    return gradients


def with_part(**parts: Any) -> Backward:
    """A mistake in one place of the right backward pass."""
    return with_backward(changed_backward(**parts))


def with_upstream(change: Callable[[Setup], Setup]) -> Backward:
    """A mistake in the gradients that come in."""
    return lambda s: right_gradients(change(s))


def with_result(prefix: str, change: Callable[[Array, Setup], Array]) -> Backward:
    """A mistake in a gradient that goes out."""

    def gradients(s: Setup) -> Quantities:
        found = right_gradients(s)
        return {n: change(v, s) if n.startswith(prefix) else v for n, v in found.items()}

    return gradients


def with_cell(change: Callable[[Gradients, Array, Array, Array], Gradients]) -> Backward:
    """A mistake in one layer's results, made knowing x, h0 and the output."""

    def backward(go: Array, gn: Array, x: Array, h0: Array, output: Array, *rest: Any) -> Gradients:
        return change(right_backward(go, gn, x, h0, output, *rest), x, h0, output)

    return with_backward(backward)


def _truncated(*arguments: Any) -> Gradients:
    half = len(arguments[2]) // 2
    return changed_backward(carry=lambda t, d: 0 * d if t == half else d)(*arguments)


def _from_h_t(go: Array, gn: Array, x: Array, h0: Array, output: Array, *rest: Any) -> Gradients:
    """grad_weight_hh from h_t instead of h_{t-1}: the state that was just made."""
    of_x, of_h0, of_cell = right_backward(go, gn, x, h0, output, *rest)
    grad_a = _grad_a(go, gn, x, h0, output, *rest)
    flat = grad_a.reshape(-1, h0.shape[1])
    return of_x, of_h0, of_cell._replace(weight_hh=product(flat.T, output.reshape(flat.shape)))


def _without_h0(go: Array, gn: Array, x: Array, h0: Array, output: Array, *rest: Any) -> Gradients:
    of_x, of_h0, of_cell = right_backward(go, gn, x, h0, output, *rest)
    first = _grad_a(go, gn, x, h0, output, *rest)[0]
    return of_x, of_h0, of_cell._replace(weight_hh=of_cell.weight_hh - product(first.T, h0))


def _grad_a(*arguments: Any) -> Array:
    """The gradients before the nonlinearity, where every product of the pass starts."""
    eye = np.eye(arguments[3].shape[1], dtype=arguments[2].dtype)
    go, gn, x, h0, output, cell, nonlinearity = arguments
    of_x, _, _ = right_backward(go, gn, x, h0, output, cell._replace(weight_ih=eye), nonlinearity)
    return of_x


def _grad_x_of_one_direction(s: Setup) -> Quantities:
    found = right_gradients(s)
    if not s.config.bidirectional or s.config.num_layers > 1:
        return found
    ahead = s.grad_output.copy()
    ahead[:, :, s.config.hidden_size :] = 0
    first = (np.arange(len(s.grad_h_n)) % 2 == 0)[:, None, None]
    last = {"grad_h_n": s.grad_h_n * first}
    if s.grad_c_n is not None:
        last["grad_c_n"] = s.grad_c_n * first
    only = right_gradients(s.replace(grad_output=ahead, **last))
    return found | {"grad_x": only["grad_x"]}


def _only_last_output(s: Setup) -> Setup:
    kept = np.zeros_like(s.grad_output)
    kept[-1] = s.grad_output[-1]
    return s.replace(grad_output=kept)


def _mean(gradient: Array, s: Setup) -> Array:
    return np.asarray(gradient / gradient.dtype.type(s.x.shape[1]))


def _transposed_if_square(g: Gradients, *_: Array) -> Gradients:
    return g[0], g[1], g[2]._replace(weight_hh=np.ascontiguousarray(g[2].weight_hh.T))


MISTAKES = (
    Mistake(
        "the gradient truncated halfway",
        "truncated backpropagation through time where the whole was asked for",
        backward=with_backward(_truncated),
        kinds=PLAIN,
    ),
    Mistake(
        "the gradient not carried through time",
        "a detached state",
        backward=with_part(carry=lambda t, d: 0 * d if t else d),
        kinds=PLAIN,
    ),
    Mistake(
        "the derivative of tanh as 1 - h",
        "a square forgotten",
        backward=with_part(derivative=lambda h: h.dtype.type(1) - h),
        kinds=PLAIN,
    ),
    Mistake(
        "the derivative of tanh left out",
        "a straight-through gradient",
        backward=with_part(derivative=lambda h: np.ones_like(h)),
        kinds=PLAIN,
    ),
    Mistake(
        "the derivative of the sigmoid",
        "h (1 - h): another cell's backward pass",
        backward=with_part(derivative=lambda h: h * (h.dtype.type(1) - h)),
        kinds=PLAIN,
    ),
    Mistake(
        "the gradient carried by weight_hh transposed",
        "the forward product used backward",
        backward=with_part(into=lambda cell: cell.weight_hh.T),
        kinds=PLAIN,
    ),
    Mistake(
        "the gradient of h_n ignored",
        "only the output is differentiated",
        backward=with_upstream(lambda s: s.replace(grad_h_n=np.zeros_like(s.grad_h_n))),
    ),
    Mistake(
        "the gradient of the output ignored",
        "only the final state is differentiated",
        backward=with_upstream(lambda s: s.replace(grad_output=np.zeros_like(s.grad_output))),
    ),
    Mistake(
        "the gradient of all but the last output ignored",
        "many-to-one training assumed",
        backward=with_upstream(_only_last_output),
    ),
    Mistake(
        "grad_weight_hh transposed",
        "the outer product the wrong way round; it is square",
        backward=with_cell(_transposed_if_square),
        kinds=PLAIN,
    ),
    Mistake(
        "grad_weight_hh from h_t instead of h_t-1",
        "an off-by-one in the saved states",
        backward=with_backward(_from_h_t),
        kinds=PLAIN,
    ),
    Mistake(
        "grad_weight_hh without the step from h0",
        "saved states that begin with h_1",
        backward=with_backward(_without_h0),
        kinds=PLAIN,
    ),
    Mistake(
        "grad_bias_hh dropped",
        "one bias differentiated",
        backward=with_result("grad_bias_hh", lambda g, s: np.zeros_like(g)),
    ),
    Mistake(
        "the gradients of the biases doubled",
        "two biases as one, its gradient added to both",
        backward=with_result("grad_bias", lambda g, s: g * g.dtype.type(2)),
    ),
    Mistake(
        "grad_h0 dropped",
        "the initial state taken for a constant",
        backward=with_result("grad_h0", lambda g, s: np.zeros_like(g)),
    ),
    Mistake(
        "gradients of weights averaged over the batch",
        "a mean where a sum was asked for",
        backward=with_result("grad_weight", _mean),
    ),
    Mistake(
        "grad_x of the forward direction only",
        "directions that share an input overwrite its gradient",
        backward=_grad_x_of_one_direction,
    ),
    Mistake(
        "grad_x one step late",
        "an off-by-one",
        backward=with_result("grad_x", lambda g, s: np.roll(g, 1, axis=0)),
    ),
    Mistake(
        "gradients clipped to 1",
        "clipping left on",
        backward=with_result("grad_", lambda g, s: np.clip(g, -1, 1).astype(g.dtype)),
    ),
    Mistake(
        "the carried gradient rounded to bfloat16",
        "mixed precision",
        backward=with_part(carry=lambda t, d: rounded_to(8, d)),
        kinds=PLAIN,
    ),
    Mistake(
        "the padding's gradient counted",
        "a mask missing in the backward pass",
        backward=lambda s: right_gradients(s.replace(lengths=None)),
    ),
)
