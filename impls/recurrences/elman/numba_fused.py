"""The recurrence as one kernel, compiled by Numba: no call, and no array, per step.

    h_t = tanh(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh)

Source of the formula: the documentation of `torch.nn.RNN`. Every matrix product here is of rows
with rows (x_t with rows of W_ih, h with rows of W_hh). The kernel computes it in tiles of four
times four of them: sixteen sums run side by side along the common dimension, which the compiler
keeps in vector registers. tanh is a rational function, for the same reason. For wide states and
large batches BLAS's blocking for the caches is worth its call per step: there it does the products.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]

framework = "numpy"
dtypes = ("float64", "float32")

# Multiply-adds per step above which BLAS does the products.
BLAS_FROM = 2**25

# tanh(x) = x P(x^2) / Q(x^2) for |x| <= REACH, beyond which float32's tanh is 1. Highest power
# first; fitted for the least largest relative error (2.1e-8), by reweighted least squares.
P = (1.3336867032890752e-08, 2.059628944982965e-05, 3.4948120682588633e-03, 0.1338037246975539)
Q = (7.769291314997903e-07, 3.2843648430398275e-04, 2.5874030681287928e-02, 0.46713687887073946)
P_0, REACH = 0.999999979233352, 9.01

# Size of a single state from which eight rows at a time are faster than four.
EIGHT_FROM = 48

# Bytes that a processor moves at once, and that a vector register has at most.
CACHE_LINE = 64

# Rows of x per round of the input product: as many as stay in a core's cache with the tiles.
ROWS = 32

# NumPy's error model: by Python's, which looks for zeros before it divides, tanh is not vectorised.
_compiled = numba.njit(cache=True, fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")


class Prepared(NamedTuple):
    """A cell's weights where vector registers are filled fastest from."""

    weight_ih: Array  # [H, I]
    weight_hh: Array  # [H, H]
    bias: Array  # bias_ih + bias_hh, [H]


def prepare(cell: Cell, nonlinearity: str) -> Prepared:
    """Do what is done once per set of weights.

    Args:
        cell: `(weight_ih [H, I], weight_hh [H, H], bias_ih [H], bias_hh [H])`.
        nonlinearity: not needed.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = cell
    return Prepared(_aligned(weight_ih), _aligned(weight_hh), bias_ih + bias_hh)


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
        The output `[T, B, H]` and h_n `[B, H]`.
    """
    weight_ih, weight_hh, bias = cell
    (T, B, I), H = x.shape, len(bias)
    output, tanh = np.empty((T, B, H), x.dtype), nonlinearity == "tanh"
    if B * H * H < BLAS_FROM:
        x, h0 = np.ascontiguousarray(x), np.ascontiguousarray(h0)
        _recur(output, x, h0, weight_ih, weight_hh, bias, tanh)
        return output, (output[-1] if T else h0).copy()
    np.dot(x.reshape(T * B, I), weight_ih.T, out=output.reshape(T * B, H))
    h, recurrent = h0, np.empty((B, H), x.dtype)
    for h_t in output:
        np.dot(h, weight_hh.T, out=recurrent)
        _finish(h_t, recurrent, bias, tanh)
        h = h_t
    return output, h.copy()


@_compiled
def _recur(
    output: Array,
    x: Array,
    h0: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array,
    tanh: bool,
) -> None:
    (T, B, H), I = output.shape, x.shape[2]
    flat_x, flat = x.reshape(T * B, I), output.reshape(T * B, H)
    for row in range(T * B):
        flat[row] = bias
    for row in range(0, T * B, ROWS):
        _add_product(flat[row : row + ROWS], flat_x[row : row + ROWS], weight_ih)
    h = h0
    for t in range(T):
        h_t = output[t]
        if B == 1 and H >= EIGHT_FROM:
            _add_row(h_t[0], h[0], weight_hh)
        else:
            _add_product(h_t, h, weight_hh)
        _activate(h_t, tanh)
        h = h_t


@_compiled
def _finish(h_t: Array, recurrent: Array, bias: Array, tanh: bool) -> None:
    for b in range(len(h_t)):
        for i in range(len(bias)):
            h_t[b, i] += recurrent[b, i] + bias[i]
    _activate(h_t, tanh)


@_compiled
def _add_product(out: Array, a: Array, w: Array) -> None:
    """Add a w^T to out: `[M, N] += [M, K] [N, K]^T`."""
    (M, N), K = out.shape, a.shape[1]
    M_4, N_4 = M - M % 4, N - N % 4
    zero = out.dtype.type(0)
    for n in range(0, N_4, 4):
        w0, w1, w2, w3 = w[n], w[n + 1], w[n + 2], w[n + 3]
        for m in range(0, M_4, 4):
            a0, a1, a2, a3 = a[m], a[m + 1], a[m + 2], a[m + 3]
            s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = zero
            s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = zero
            for k in range(K):
                v0, v1, v2, v3 = w0[k], w1[k], w2[k], w3[k]
                u0, u1, u2, u3 = a0[k], a1[k], a2[k], a3[k]
                s00 += u0 * v0
                s01 += u0 * v1
                s02 += u0 * v2
                s03 += u0 * v3
                s10 += u1 * v0
                s11 += u1 * v1
                s12 += u1 * v2
                s13 += u1 * v3
                s20 += u2 * v0
                s21 += u2 * v1
                s22 += u2 * v2
                s23 += u2 * v3
                s30 += u3 * v0
                s31 += u3 * v1
                s32 += u3 * v2
                s33 += u3 * v3
            _add_four(out[m], n, s00, s01, s02, s03)
            _add_four(out[m + 1], n, s10, s11, s12, s13)
            _add_four(out[m + 2], n, s20, s21, s22, s23)
            _add_four(out[m + 3], n, s30, s31, s32, s33)
        for m in range(M_4, M):
            a0 = a[m]
            s00 = s01 = s02 = s03 = zero
            for k in range(K):
                u0 = a0[k]
                s00 += u0 * w0[k]
                s01 += u0 * w1[k]
                s02 += u0 * w2[k]
                s03 += u0 * w3[k]
            _add_four(out[m], n, s00, s01, s02, s03)
    for n in range(N_4, N):
        w0 = w[n]
        for m in range(M):
            a0, s00 = a[m], zero
            for k in range(K):
                s00 += a0[k] * w0[k]
            out[m, n] += s00


@_compiled
def _add_row(out: Array, a: Array, w: Array) -> None:
    """Add w a to out, eight rows of w at a time: `[N] += [N, K] [K]`."""
    (N, K), zero = w.shape, out.dtype.type(0)
    N_8 = N - N % 8
    for n in range(0, N_8, 8):
        w0, w1, w2, w3 = w[n], w[n + 1], w[n + 2], w[n + 3]
        w4, w5, w6, w7 = w[n + 4], w[n + 5], w[n + 6], w[n + 7]
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = zero
        for k in range(K):
            u = a[k]
            s0 += u * w0[k]
            s1 += u * w1[k]
            s2 += u * w2[k]
            s3 += u * w3[k]
            s4 += u * w4[k]
            s5 += u * w5[k]
            s6 += u * w6[k]
            s7 += u * w7[k]
        _add_four(out, n, s0, s1, s2, s3)
        _add_four(out, n + 4, s4, s5, s6, s7)
    for n in range(N_8, N):
        w0, s0 = w[n], zero
        for k in range(K):
            s0 += a[k] * w0[k]
        out[n] += s0


@_compiled
def _add_four(row: Array, n: int, s0: float, s1: float, s2: float, s3: float) -> None:
    row[n] += s0
    row[n + 1] += s1
    row[n + 2] += s2
    row[n + 3] += s3


@_compiled
def _activate(a: Array, tanh: bool) -> None:
    flat = a.reshape(a.size)
    kind = a.dtype.type
    if not tanh:
        for i in range(flat.size):
            flat[i] = max(flat[i], kind(0))
    elif a.itemsize == 4:
        for i in range(flat.size):
            flat[i] = _rational_tanh(flat[i])
    else:
        for i in range(flat.size):
            flat[i] = np.tanh(flat[i])


@_compiled
def _rational_tanh(value: Any) -> Any:
    f = np.float32
    x = min(max(value, f(-REACH)), f(REACH))
    s = x * x
    p = (((f(P[0]) * s + f(P[1])) * s + f(P[2])) * s + f(P[3])) * s + f(P_0)
    q = (((f(Q[0]) * s + f(Q[1])) * s + f(Q[2])) * s + f(Q[3])) * s + f(1)
    return min(max(x * p / q, f(-1)), f(1))
