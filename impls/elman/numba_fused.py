"""The recurrence as one kernel, compiled by Numba: no call, and no array, per step.

    h_t = tanh(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh)

Source of the formula: the documentation of `torch.nn.RNN`. The input products of all time steps
are one BLAS call. The kernel then walks through time: to each step's slice of the output it adds
one row of W_hh^T per hidden unit, which the compiler turns into vector instructions over all units,
and applies the nonlinearity in place. For wide states BLAS's blocking of a matrix product is worth
its call per step: there the recurrent product goes through it.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]

framework = "numpy"
dtypes = ("float64", "float32")

# Multiply-adds per step above which BLAS does the recurrent product.
BLAS_FROM = 2**17


def layer(x: Array, h0: Array, cell: Cell, nonlinearity: str) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        cell: `(weight_ih [H, I], weight_hh [H, H], bias_ih [H], bias_hh [H])`.
        nonlinearity: "tanh" or "relu".

    Returns:
        The output `[T, B, H]` and h_n `[B, H]`.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = cell
    T, B, I = x.shape
    H = len(bias_ih)
    output = np.empty((T, B, H), x.dtype)
    np.dot(x.reshape(T * B, I), weight_ih.T, out=output.reshape(T * B, H))
    bias, tanh = bias_ih + bias_hh, nonlinearity == "tanh"
    transposed = np.ascontiguousarray(weight_hh.T)
    if B * H * H < BLAS_FROM:
        _recur(output, np.ascontiguousarray(h0), transposed, bias, tanh)
        return output, output[-1].copy()
    h, recurrent = h0, np.empty((B, H), x.dtype)
    for h_t in output:
        np.dot(h, transposed, out=recurrent)
        _finish(h_t, recurrent, bias, tanh)
        h = h_t
    return output, h.copy()


@numba.njit(cache=True, fastmath={"contract", "nsz"})
def _recur(output: Array, h0: Array, transposed: Array, bias: Array, tanh: bool) -> None:
    T, B, H = output.shape
    for b in range(B):
        h = h0[b]
        for t in range(T):
            a = output[t, b]
            for i in range(H):
                a[i] += bias[i]
            for j in range(H):
                h_j, row = h[j], transposed[j]
                for i in range(H):
                    a[i] += h_j * row[i]
            _activate(a, tanh)
            h = a


@numba.njit(cache=True, fastmath={"contract", "nsz"})
def _finish(h_t: Array, recurrent: Array, bias: Array, tanh: bool) -> None:
    B, H = h_t.shape
    for b in range(B):
        a, r = h_t[b], recurrent[b]
        for i in range(H):
            a[i] += r[i] + bias[i]
        _activate(a, tanh)


@numba.njit(cache=True, fastmath={"contract", "nsz"}, inline="always")
def _activate(a: Array, tanh: bool) -> None:
    if tanh:
        for i in range(len(a)):
            a[i] = np.tanh(a[i])
    else:
        for i in range(len(a)):
            a[i] = max(a[i], a.dtype.type(0))
