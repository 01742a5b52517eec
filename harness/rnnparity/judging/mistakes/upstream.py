"""Mistakes in what a backward pass starts from, in its derivatives, and in what it returns."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rnnparity.judging.mistakes.backward import (
    Gradients,
    changed_backward,
    right_backward,
    with_backward,
    with_part,
    with_result,
    with_upstream,
)
from rnnparity.judging.mistakes.mistake import PLAIN, Mistake, product
from rnnparity.problems.setup import Setup
from rnnparity.types import Array


def _shifted(steps: int) -> Callable[[Setup], Setup]:
    return lambda s: s.replace(grad_output=np.roll(s.grad_output, steps, axis=0))


def _twice(name: str) -> Callable[[Setup], Setup]:
    return lambda s: s.replace(**{name: getattr(s, name) + getattr(s, name)})


def _first_from_last(
    go: Array, gn: Array, x: Array, h0: Array, output: Array, *rest: Any
) -> Gradients:
    """The state before the first step as `output[-1]`, which Python lets pass."""
    _, _, of_cell = right_backward(go, gn, x, output[-1], output, *rest)
    of_x, of_h0, right = right_backward(go, gn, x, h0, output, *rest)
    return of_x, of_h0, right._replace(weight_hh=of_cell.weight_hh)


def _of_relu(derivative: Callable[[Array], Array]) -> Callable[..., Gradients]:
    """A backward pass with another derivative of relu."""

    def backward(*arguments: Any) -> Gradients:
        if arguments[-1] != "relu":
            return right_backward(*arguments)
        go, gn, x, h0, output, cell, _ = arguments
        return changed_backward(derivative)(go, gn, x, h0, output, cell, "tanh")

    return backward


def _slope_before(
    go: Array, gn: Array, x: Array, h0: Array, output: Array, cell: Any, nonlinearity: str
) -> Gradients:
    """The derivative taken at h_t-1: the wrong one of two saved states."""
    if nonlinearity != "tanh":
        return right_backward(go, gn, x, h0, output, cell, nonlinearity)
    before = np.concatenate((h0[None], output[:-1]))
    grad_a, d = np.empty_like(output), gn
    for t in reversed(range(len(x))):
        grad_a[t] = (go[t] + d) * (x.dtype.type(1) - before[t] * before[t])
        d = product(grad_a[t], cell.weight_hh)
    flat = grad_a.reshape(-1, h0.shape[1])
    bias = product(np.ones(len(flat), x.dtype), flat)
    weight_ih = product(flat.T, x.reshape(len(flat), -1))
    weight_hh = product(flat.T, before.reshape(flat.shape))
    of_cell = cell._replace(weight_ih=weight_ih, weight_hh=weight_hh, bias_ih=bias, bias_hh=bias)
    return product(grad_a, cell.weight_ih), d, of_cell


def _clipped(limit: float) -> Callable[[Setup], dict[str, Array]]:
    """Gradients of weights and biases clipped, those of x and h0 not."""

    def clip(gradient: Array, s: Setup) -> Array:
        return np.clip(gradient, -limit, limit).astype(gradient.dtype)

    def backward(s: Setup) -> dict[str, Array]:
        return with_result("grad_weight", clip)(s) | {
            name: value
            for name, value in with_result("grad_bias", clip)(s).items()
            if name.startswith("grad_bias")
        }

    return backward


MISTAKES = (
    Mistake(
        "the gradient of h_n counted twice",
        "added to the last output's and handed on as well",
        backward=with_upstream(_twice("grad_h_n")),
    ),
    Mistake(
        "the gradient of the output counted twice",
        "the same with the output",
        backward=with_upstream(_twice("grad_output")),
    ),
    Mistake(
        "every gradient doubled",
        "added to those of an earlier call",
        backward=with_result("grad_", lambda g, s: g + g),
    ),
    Mistake(
        "the gradient of the output taken a step late",
        "an off-by-one in the backward loop",
        backward=with_upstream(_shifted(1)),
    ),
    Mistake(
        "the gradient of the output taken a step early",
        "the same the other way round",
        backward=with_upstream(_shifted(-1)),
    ),
    Mistake(
        "the derivative of tanh as 1 / (1 - h^2)",
        "the derivative of its inverse",
        backward=with_part(derivative=lambda h: h.dtype.type(1) / (h.dtype.type(1) - h * h)),
        kinds=PLAIN,
    ),
    Mistake(
        "the derivative of tanh taken of h_t in place of a_t",
        "1 - tanh(h)^2: tanh applied once too often",
        backward=with_part(derivative=lambda h: h.dtype.type(1) - np.tanh(h) * np.tanh(h)),
        kinds=PLAIN,
    ),
    Mistake(
        "the derivative of tanh at the state before",
        "the wrong one of two saved states",
        backward=with_backward(_slope_before),
        kinds=PLAIN,
    ),
    Mistake(
        "the derivative of relu left out",
        "gradients let through where relu is 0",
        backward=with_backward(_of_relu(np.ones_like)),
        kinds=PLAIN,
    ),
    Mistake(
        "the derivative of tanh taken for that of relu",
        "a backward pass written for tanh",
        backward=with_backward(_of_relu(lambda h: h.dtype.type(1) - h * h)),
        kinds=PLAIN,
    ),
    Mistake(
        "grad_weight_hh with the last state in place of h0",
        "h[t - 1] at t = 0 is Python's h[-1]",
        backward=with_backward(_first_from_last),
        kinds=PLAIN,
    ),
    Mistake(
        "gradients of weights and biases clipped to 5",
        "clipping as in min-char-rnn",
        backward=_clipped(5.0),
    ),
    Mistake(
        "gradients of weights and biases clipped to 1",
        "clipping left on",
        backward=_clipped(1.0),
    ),
)
