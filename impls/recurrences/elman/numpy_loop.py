"""The recurrence in NumPy: a Python loop over time, every step written in place.

    h_t = tanh(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh)

Source of the formula: the documentation of `torch.nn.RNN`. The input products of all time steps
are one matrix product; each step then adds its recurrent product to its own slice of the output
and applies the nonlinearity there, so that nothing is allocated inside the loop.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]

framework = "numpy"
dtypes = ("float64", "float32", "float16", "bfloat16")

# Bytes that a processor moves at once, and that a vector register has at most.
CACHE_LINE = 64


class Prepared(NamedTuple):
    """A cell's weights, laid out as products read them."""

    weight_ih: Array  # [H, I]
    weight_hh: Array  # [H, H]
    from_h: Array  # weight_hh^T, [H, H]
    bias: Array  # bias_ih + bias_hh, [H]


def prepare(cell: Cell, nonlinearity: str) -> Prepared:
    """Do what is done once per set of weights.

    Args:
        cell: `(weight_ih [H, I], weight_hh [H, H], bias_ih [H], bias_hh [H])`.
        nonlinearity: not needed.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = cell
    return Prepared(weight_ih, weight_hh, _aligned(weight_hh.T), bias_ih + bias_hh)


def _aligned(a: Array) -> Array:
    """Return a copy that starts where a cache line does: NumPy's own arrays need not."""
    memory = np.empty(a.nbytes + CACHE_LINE, np.uint8)
    first = -memory.ctypes.data % CACHE_LINE
    copy = memory[first : first + a.nbytes].view(a.dtype).reshape(a.shape)
    copy[:] = a
    return copy


def layer(x: Array, h0: Array, cell: Prepared, nonlinearity: str) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        cell: what `prepare` returned.
        nonlinearity: "tanh" or "relu".

    Returns:
        The output `[T, B, H]`, which is h_1 to h_T, and h_n `[B, H]`, which is h_T.
    """
    weight_ih, _, from_h, bias = cell
    (T, B, I), H = x.shape, len(bias)
    activate = _ACTIVATE[nonlinearity]

    output = np.empty((T, B, H), x.dtype)
    np.dot(x.reshape(T * B, I), weight_ih.T, out=output.reshape(T * B, H))
    output += bias

    add, h, recurrent = np.add, h0, np.empty((B, H), x.dtype)
    for h_t in list(output):  # views: what is written to them is written to the output
        h.dot(from_h, recurrent)
        add(h_t, recurrent, h_t)
        activate(h_t, h_t)
        h = h_t
    return output, h.copy()


def layer_backward(
    grad_output: Array,
    grad_h_n: Array,
    x: Array,
    h0: Array,
    output: Array,
    cell: Prepared,
    nonlinearity: str,
) -> tuple[Array, Array, Cell]:
    """Run backward through time over what `layer` did.

        grad_a_t = (grad_output_t + grad_a_{t+1} W_hh) * f'(a_t)

    with f' = 1 - h_t^2 for tanh and [h_t > 0] for relu (Werbos, 1990). As in the forward pass, all
    that does not depend on the next step is done for all time steps at once.

    Args:
        grad_output: `[T, B, H]`.
        grad_h_n: `[B, H]`.
        x: the input that `layer` was given, `[T, B, I]`.
        h0: what `layer` was given, `[B, H]`.
        output: what it returned, `[T, B, H]`.
        cell: what `layer` was given.
        nonlinearity: what `layer` was given.

    Returns:
        The gradients of x `[T, B, I]`, h0 `[B, H]`, and of the four parameters given to `prepare`.
    """
    weight_ih, weight_hh, _, _ = cell
    (T, B, I), H = x.shape, h0.shape[1]
    grad_a = _derivative(output, nonlinearity)

    grad_h, recurrent = grad_h_n.copy(), np.empty((B, H), x.dtype)
    for grad_a_t, grad_output_t in zip(list(grad_a[::-1]), list(grad_output[::-1]), strict=True):
        grad_h += grad_output_t
        grad_a_t *= grad_h
        grad_a_t.dot(weight_hh, recurrent)
        grad_h, recurrent = recurrent, grad_h

    flat = grad_a.reshape(T * B, H)
    h_before = np.concatenate((h0[None], output[:-1])).reshape(T * B, H)
    grad_bias = np.dot(np.ones(T * B, x.dtype), flat)
    grad_x = np.dot(flat, weight_ih).reshape(T, B, I)
    grad_weight_ih = np.dot(flat.T, x.reshape(T * B, I))
    grad_weight_hh = np.dot(flat.T, h_before)
    return grad_x, grad_h, (grad_weight_ih, grad_weight_hh, grad_bias, grad_bias.copy())


def _derivative(output: Array, nonlinearity: str) -> Array:
    if nonlinearity == "relu":
        return (output > 0).astype(output.dtype)
    derivative: Array = output * output
    np.subtract(1, derivative, out=derivative)
    return derivative


def _relu(a: Array, out: Array) -> Array:
    return np.maximum(a, 0, out=out)


_ACTIVATE: dict[str, Callable[..., Array]] = {"tanh": np.tanh, "relu": _relu}
