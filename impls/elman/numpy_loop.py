"""The recurrence in NumPy: a Python loop over time, every step written in place.

    h_t = tanh(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh)

Source of the formula: the documentation of `torch.nn.RNN`. The input products of all time steps
are one matrix product; each step then adds its recurrent product to its own slice of the output
and applies the nonlinearity there, so that nothing is allocated inside the loop.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]

framework = "numpy"
dtypes = ("float64", "float32", "float16", "bfloat16")


def layer(x: Array, h0: Array, cell: Cell, nonlinearity: str) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        cell: `(weight_ih [H, I], weight_hh [H, H], bias_ih [H], bias_hh [H])`.
        nonlinearity: "tanh" or "relu".

    Returns:
        The output `[T, B, H]`, which is h_1 to h_T, and h_n `[B, H]`, which is h_T.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = cell
    (T, B, I), H = x.shape, len(bias_ih)
    activate = _ACTIVATE[nonlinearity]

    output = np.empty((T, B, H), x.dtype)
    np.dot(x.reshape(T * B, I), weight_ih.T, out=output.reshape(T * B, H))
    output += bias_ih + bias_hh

    h, recurrent = h0, np.empty((B, H), x.dtype)
    for h_t in output:  # a view: what is written to it is written to the output
        np.dot(h, weight_hh.T, out=recurrent)
        h_t += recurrent
        activate(h_t, out=h_t)
        h = h_t
    return output, h.copy()


def _relu(a: Array, out: Array) -> Array:
    return np.maximum(a, 0, out=out)


_ACTIVATE: dict[str, Callable[..., Array]] = {"tanh": np.tanh, "relu": _relu}
