"""The GRU as one kernel, compiled by Numba: no call, and no array, per step.

    r_t = s(x_t W_ir^T + b_ir + h_{t-1} W_hr^T + b_hr)           s(a) = 1 / (1 + exp(-a))
    z_t = s(x_t W_iz^T + b_iz + h_{t-1} W_hz^T + b_hz)
    n_t = tanh(x_t W_in^T + b_in + r_t (h_{t-1} W_hn^T + b_hn))
    h_t = n_t + z_t (h_{t-1} - n_t)

Source of the formula: the documentation of `torch.nn.GRU`, after Cho et al. (2014), whose r_t
multiplies h_{t-1} before the product and not after it. Every matrix product here is of rows with
rows (x_t with rows of W_ih, h with rows of W_hh). The kernel computes it in tiles of four times
four of them: sixteen sums run side by side along the common dimension, which the compiler keeps in
vector registers. tanh is a rational function and exp a polynomial, for the same reason. Large
products are BLAS's, in a call per step if they are a step's.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Cell = tuple[Array, Array, Array, Array]  # weight_ih [3H, I], weight_hh [3H, H], biases [3H]

kind = "gru"
framework = "numpy"
dtypes = ("float64", "float32")

# Multiply-adds from which BLAS makes a product: of a block of inputs; and of a step, gate by gate,
# if it has so many sequences. It blocks for the caches, and where a processor has registers of 512
# bits it uses them, which the compiler does not.
BLAS_FROM, BLAS_FROM_SEQUENCES = 2**20, 8

# tanh(x) = x P(x^2) / Q(x^2) for |x| <= REACH, beyond which float32's tanh is 1. Highest power
# first; fitted for the least largest relative error (2.1e-8), by reweighted least squares.
P = (1.3336867032890752e-08, 2.059628944982965e-05, 3.4948120682588633e-03, 0.1338037246975539)
Q = (7.769291314997903e-07, 3.2843648430398275e-04, 2.5874030681287928e-02, 0.46713687887073946)
P_0, REACH = 0.999999979233352, 9.01

# exp(r) = 1 + r + r^2 R(r) for |r| <= ln(2) / 2, highest power first, and ln(2) in two parts, the
# first of which is exact in float32 when multiplied by a whole number up to 128 (Cody and Waite,
# 1980; Moshier's Cephes library, `expf`). GREATEST is the last a of which exp(a) is below 2^127.5.
R = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1)
R_0, LN_2, LN_2_REST = 5.0000001201e-1, 0.693359375, -2.12194440e-4
LOG2_E, GREATEST = 1.44269504088896341, 88.37

# Size of a single state from which sums along the rows of W_hh, eight at a time, are faster than
# adding up its columns: those need no sum across a vector register, but write every result H / 4
# times.
ROWS_FROM = 96

# Bytes that a processor moves at once, and that a vector register has at most.
CACHE_LINE = 64

# Rows of the input products that are made at a time, so that they are still in the cache when a
# step reads them, and of those per round of the kernel's own product, which stay there with tiles.
ROWS, ROUND = 2**8, 32

# NumPy's error model: by Python's, which looks for zeros before it divides, nothing is vectorised.
_compiled = numba.njit(cache=True, fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")

# Where the order of additions matters.
_in_order = numba.njit(cache=True, fastmath={"contract"}, error_model="numpy")


class Prepared(NamedTuple):
    """A cell's weights where vector registers are filled fastest from."""

    weight_ih: Array  # [3H, I]
    weight_hh: Array  # [3H, H]
    by_gate: Array  # the same as BLAS reads it, [3, H, H]
    columns: Array  # the same transposed, [H, 3H]
    bias_ih: Array  # [3H]
    bias_hh: Array  # [3H]


def prepare(cell: Cell) -> Prepared:
    """Do what is done once per set of weights.

    Args:
        cell: `(weight_ih [3H, I], weight_hh [3H, H], bias_ih [3H], bias_hh [3H])`, rows r z n.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = cell
    H = weight_hh.shape[1]
    by_gate = _aligned(weight_hh.reshape(3, H, H).swapaxes(1, 2))
    rows, columns = _aligned(weight_hh), _aligned(weight_hh.T)
    return Prepared(_aligned(weight_ih), rows, by_gate, columns, bias_ih.copy(), bias_hh.copy())


def _aligned(a: Array) -> Array:
    """Return a copy that starts where a cache line does: NumPy's own arrays need not."""
    memory = np.empty(a.nbytes + CACHE_LINE, np.uint8)
    first = -memory.ctypes.data % CACHE_LINE
    copy = memory[first : first + a.nbytes].view(a.dtype).reshape(a.shape)
    copy[:] = a
    return copy


def layer(x: Array, h0: Array, cell: Prepared) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        cell: what `prepare` returned.

    Returns:
        The output `[T, B, H]` and h_n `[B, H]`.
    """
    weight_ih, weight_hh, by_gate, columns, bias_ih, bias_hh = cell
    (T, B, I), H = x.shape, h0.shape[1]
    x, h = np.ascontiguousarray(x), np.ascontiguousarray(h0)
    length = max(1, min(T, ROWS // max(1, B)))
    output, a = np.empty((T, B, H), x.dtype), np.empty((length * B, 3 * H), x.dtype)
    steps_by_blas = B >= BLAS_FROM_SEQUENCES and 3 * B * H * H >= BLAS_FROM
    inputs_by_blas = steps_by_blas or length * B * I * 3 * H >= BLAS_FROM
    recurrent, of_gates = np.empty((B, 3 * H), x.dtype), np.empty((3, B, H), x.dtype)
    for first in range(0, T, length):
        rows, steps = x[first : first + length].reshape(-1, I), output[first : first + length]
        if inputs_by_blas:
            part = a[: len(rows)]
            np.dot(rows, weight_ih.T, out=part)
            part += bias_ih
        if steps_by_blas:
            for t, h_t in enumerate(steps):
                np.matmul(h, by_gate, out=of_gates)
                _finish(h_t, h, a[t * B : (t + 1) * B], recurrent, of_gates, bias_hh)
                h = h_t
        else:
            weights = weight_ih, weight_hh, columns, bias_ih, bias_hh
            _recur(steps, a, recurrent, rows, h, *weights, not inputs_by_blas)
            h = steps[-1]
    return output, h.copy()


@_compiled
def _recur(
    output: Array,
    a: Array,
    recurrent: Array,
    rows: Array,
    h: Array,
    weight_ih: Array,
    weight_hh: Array,
    columns: Array,
    bias_ih: Array,
    bias_hh: Array,
    project: bool,
) -> None:
    """Write some steps of the output, [L, B, H]; a is, or gets, what x adds to the gates."""
    L, B, H = output.shape
    if project:
        for row in range(L * B):
            a[row] = bias_ih
        for row in range(0, L * B, ROUND):
            _add_product(a[row : min(row + ROUND, L * B)], rows[row : row + ROUND], weight_ih)
    for t in range(L):
        h_t = output[t]
        for b in range(B):
            recurrent[b] = bias_hh
        if B == 1 and H >= ROWS_FROM:
            _add_row(recurrent[0], h[0], weight_hh)
        elif B == 1:
            _add_columns(recurrent[0], h[0], columns)
        else:
            _add_product(recurrent, h, weight_hh)
        _advance(h_t, h, a[t * B : (t + 1) * B], recurrent)
        h = h_t


@_compiled
def _finish(
    h_t: Array, h: Array, a_t: Array, recurrent: Array, of_gates: Array, bias_hh: Array
) -> None:
    gates, B, H = of_gates.shape
    for b in range(B):
        for gate in range(gates):
            row, product = recurrent[b, gate * H : (gate + 1) * H], of_gates[gate, b]
            bias = bias_hh[gate * H : (gate + 1) * H]
            for k in range(H):
                row[k] = product[k] + bias[k]
    _advance(h_t, h, a_t, recurrent)


@_compiled
def _advance(h_t: Array, h: Array, a_t: Array, recurrent: Array) -> None:
    """Write h_t, by what x_t and h contribute to the gates."""
    B, H = h_t.shape
    for b in range(B):
        of_x, of_h, out, before = a_t[b], recurrent[b], h_t[b], h[b]
        to_r, to_z, to_n = of_x[:H], of_x[H : 2 * H], of_x[2 * H :]
        r, z, q = of_h[:H], of_h[H : 2 * H], of_h[2 * H :]
        if h.itemsize == 4:
            for k in range(H):
                n = _rational_tanh(to_n[k] + _float32_logistic(to_r[k] + r[k]) * q[k])
                out[k] = n + _float32_logistic(to_z[k] + z[k]) * (before[k] - n)
        else:
            for k in range(H):
                n = np.tanh(to_n[k] + _logistic(to_r[k] + r[k]) * q[k])
                out[k] = n + _logistic(to_z[k] + z[k]) * (before[k] - n)


@_compiled
def _logistic(value: Any) -> Any:
    one = type(value)(1)
    return one / (one + np.exp(-value))


@_in_order
def _float32_logistic(value: Any) -> Any:
    """Return 1 / (1 + exp(-a)), right to three units in the last place wherever it is normal.

    Below that it is zero: a large state, times what is all but zero, would not be.
    """
    f = np.float32
    x = min(max(-value, f(-GREATEST)), f(GREATEST))
    n = np.floor(x * f(LOG2_E) + f(0.5))
    r = (x - n * f(LN_2)) - n * f(LN_2_REST)
    p = ((((f(R[0]) * r + f(R[1])) * r + f(R[2])) * r + f(R[3])) * r + f(R[4])) * r + f(R_0)
    power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    found = f(1) / (f(1) + (p * r * r + r + f(1)) * power)
    return f(0) if value < f(-GREATEST) else found


@_compiled
def _rational_tanh(value: Any) -> Any:
    f = np.float32
    x = min(max(value, f(-REACH)), f(REACH))
    s = x * x
    p = (((f(P[0]) * s + f(P[1])) * s + f(P[2])) * s + f(P[3])) * s + f(P_0)
    q = (((f(Q[0]) * s + f(Q[1])) * s + f(Q[2])) * s + f(Q[3])) * s + f(1)
    return min(max(x * p / q, f(-1)), f(1))


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
def _add_columns(out: Array, a: Array, w: Array) -> None:
    """Add a w to out, four rows of w at a time: `[N] += [K] [K, N]`."""
    K, N = w.shape
    K_4 = K - K % 4
    for k in range(0, K_4, 4):
        u0, u1, u2, u3 = a[k], a[k + 1], a[k + 2], a[k + 3]
        w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
        for n in range(N):
            out[n] += (u0 * w0[n] + u1 * w1[n]) + (u2 * w2[n] + u3 * w3[n])
    for k in range(K_4, K):
        u0, w0 = a[k], w[k]
        for n in range(N):
            out[n] += u0 * w0[n]


@_compiled
def _add_four(row: Array, n: int, s0: float, s1: float, s2: float, s3: float) -> None:
    row[n] += s0
    row[n + 1] += s1
    row[n + 2] += s2
    row[n + 3] += s3
