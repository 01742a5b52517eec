"""One step of each kind of layer behind its products, and its derivative, by hand.

A step takes the arithmetic, the pre-activation of every gate (of a GRU's candidate the input's part
and the state's) and the states before, and returns the states after and what its derivative needs.
The derivative takes that and the gradients of the states after; it returns those of the input's
part of every gate, of the state's part, of h before as far as it does not pass through the gates
(None where it does not), and of the other states before. Everything is `[B, H]`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rnnparity.selftest.right_ways.work import Work
from rnnparity.types import Array

Seen = tuple[Array, ...]
Gradients = tuple[list[Array], list[Array], Array | None, list[Array]]


class Step(NamedTuple):
    """A step, and its derivative."""

    forward: Callable[[Work, Sequence[Array], Sequence[Array]], tuple[list[Array], Seen]]
    backward: Callable[[Work, Seen, Sequence[Array]], Gradients]


class Update(NamedTuple):
    """How a GRU's state is made of z, n and h, and the gradients of n and z.

    All take the arithmetic; then `state` takes z, n, h and what z is the logistic function of,
    `of_n` the state's gradient, z and that, `of_z` the gradient, n and h.
    """

    state: Callable[[Work, Array, Array, Array, Array], Array]
    of_n: Callable[[Work, Array, Array, Array], Array]
    of_z: Callable[[Work, Array, Array, Array], Array]


def _by_rest(w: Work, g: Array, z: Array, a: Array) -> Array:
    return w.round(g * w.round(1 - z))


def _by_difference(w: Work, g: Array, n: Array, h: Array) -> Array:
    return w.round(g * w.round(h - n))


# (1 - z) n + z h, as PyTorch's documentation has it.
INTERPOLATED = Update(
    lambda w, z, n, h, a: w.add_products(z, h, w.round(1 - z), n), _by_rest, _by_difference
)
# The same, differentiated operation by operation, as autograd does.
BY_PARTS = INTERPOLATED._replace(of_z=lambda w, g, n, h: w.round(w.round(g * h) - w.round(g * n)))
# n + z (h - n), as PyTorch computes it, and its derivative in the same form.
FROM_N = Update(
    lambda w, z, n, h, a: w.multiply_add(z, w.round(h - n), n),
    lambda w, g, z, a: w.round(g - w.round(g * z)),
    _by_difference,
)
# 1 - z as the logistic function of -a.
BY_TWO_GATES = Update(
    lambda w, z, n, h, a: w.add_products(z, h, w.logistic(-a), n),
    lambda w, g, z, a: w.round(g * w.logistic(-a)),
    _by_difference,
)


def _tanh(w: Work, parts: Sequence[Array], before: Sequence[Array]) -> tuple[list[Array], Seen]:
    h = w.tanh(parts[0])
    return [h], (h, parts[0])


def _tanh_backward(w: Work, seen: Seen, upstream: Sequence[Array]) -> Gradients:
    of_a = [w.round(upstream[0] * w.slope(*seen))]
    return of_a, of_a, None, []


def _relu(w: Work, parts: Sequence[Array], before: Sequence[Array]) -> tuple[list[Array], Seen]:
    h = np.maximum(parts[0], 0)
    return [h], (h,)


def _relu_backward(w: Work, seen: Seen, upstream: Sequence[Array]) -> Gradients:
    of_a = [np.where(seen[0] > 0, upstream[0], upstream[0].dtype.type(0))]
    return of_a, of_a, None, []


def _gru(update: Update) -> Step:
    def forward(
        w: Work, parts: Sequence[Array], before: Sequence[Array]
    ) -> tuple[list[Array], Seen]:
        (a_r, a_z, from_x, from_h), (h,) = parts, before
        r, z = w.logistic(a_r), w.logistic(a_z)
        a_n = w.multiply_add(r, from_h, from_x)
        n = w.tanh(a_n)
        return [update.state(w, z, n, h, a_z)], (r, z, n, a_r, a_z, a_n, from_h, h)

    def backward(w: Work, seen: Seen, upstream: Sequence[Array]) -> Gradients:
        (r, z, n, a_r, a_z, a_n, from_h, h), (g,) = seen, upstream
        of_n = w.round(update.of_n(w, g, z, a_z) * w.slope(n, a_n))
        of_z = w.round(update.of_z(w, g, n, h) * w.logistic_slope(z, a_z))
        of_r = w.round(w.round(of_n * from_h) * w.logistic_slope(r, a_r))
        return [of_r, of_z, of_n], [of_r, of_z, w.round(of_n * r)], w.round(g * z), []

    return Step(forward, backward)


def _lstm(w: Work, parts: Sequence[Array], before: Sequence[Array]) -> tuple[list[Array], Seen]:
    (a_i, a_f, a_g, a_o), c_before = parts, before[1]
    i, f, o = w.logistic(a_i), w.logistic(a_f), w.logistic(a_o)
    g = w.tanh(a_g)
    c = w.add_products(f, c_before, i, g)
    bent = w.tanh(c)
    return [w.round(o * bent), c], (i, f, g, o, *parts, c_before, c, bent)


def _lstm_backward(w: Work, seen: Seen, upstream: Sequence[Array]) -> Gradients:
    i, f, g, o, a_i, a_f, a_g, a_o, c_before, c, bent = seen
    grad_h, grad_c = upstream
    grad_c = w.multiply_add(w.round(grad_h * o), w.slope(bent, c), grad_c)
    of_a = [
        w.round(w.round(grad_c * g) * w.logistic_slope(i, a_i)),
        w.round(w.round(grad_c * c_before) * w.logistic_slope(f, a_f)),
        w.round(w.round(grad_c * i) * w.slope(g, a_g)),
        w.round(w.round(grad_h * bent) * w.logistic_slope(o, a_o)),
    ]
    return of_a, of_a, None, [w.round(grad_c * f)]


def step_of(kind: str, nonlinearity: str, update: Update) -> Step:
    """Return the step of a kind of layer: "rnn" with its nonlinearity, "gru" or "lstm"."""
    if kind == "gru":
        return _gru(update)
    if kind == "lstm":
        return Step(_lstm, _lstm_backward)
    return Step(_tanh, _tanh_backward) if nonlinearity == "tanh" else Step(_relu, _relu_backward)
