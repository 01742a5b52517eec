"""The GRU in NumPy: a Python loop over time, every step written in place.

    r_t = s(x_t W_ir^T + b_ir + h_{t-1} W_hr^T + b_hr)           s(a) = 1 / (1 + exp(-a))
    z_t = s(x_t W_iz^T + b_iz + h_{t-1} W_hz^T + b_hz)
    n_t = tanh(x_t W_in^T + b_in + r_t (h_{t-1} W_hn^T + b_hn))
    h_t = n_t + z_t (h_{t-1} - n_t)

Source of the formula: the documentation of `torch.nn.GRU`, after Cho et al. (2014), whose r_t
multiplies h_{t-1} before the product and not after it. The input products of many time steps are
one matrix product. A gate is kept as 1 + exp(-a), by which is divided what it multiplies: that is
right to a few units in the last place wherever s(a) is a normal number, and where exp overflows,
s(a) is 0.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Cell = tuple[Array, Array, Array, Array]  # weight_ih [3H, I], weight_hh [3H, H], biases [3H]

kind = "gru"
framework = "numpy"
dtypes = ("float64", "float32", "float16", "bfloat16")

# Bytes that a processor moves at once, and that a vector register has at most.
CACHE_LINE = 64

# Rows of the input products that are made at a time, so that they are still in the cache when a
# step reads them, in memory that is used again.
ROWS = 2**8


class Prepared(NamedTuple):
    """A cell's weights, laid out as products read them; in float32 for types of 16 bits.

    The columns of r and z have their signs changed, so that steps find -a.
    """

    weight_ih: Array  # [3H, I], as it was
    weight_hh: Array  # [3H, H], as it was
    from_x: Array  # [I, 3H]
    from_h: Array  # [H, 3H]
    bias: Array  # what is added to the input's part: b_ih, for r and z b_hh, too, [3H]
    bias_hn: Array  # [H]
    dtype: np.dtype[Any]  # of the cell


def prepare(cell: Cell) -> Prepared:
    """Do what is done once per set of weights.

    Args:
        cell: `(weight_ih [3H, I], weight_hh [3H, H], bias_ih [3H], bias_hh [3H])`, rows r z n.
    """
    dtype = cell[0].dtype
    wide = np.promote_types(dtype, np.float32)
    weight_ih, weight_hh, bias_ih, bias_hh = (a.astype(wide, copy=False) for a in cell)
    H = weight_hh.shape[1]
    sign = np.repeat(np.array((-1, -1, 1), wide), H)
    bias = bias_ih.copy()
    bias[: 2 * H] += bias_hh[: 2 * H]
    from_x, from_h = _aligned(weight_ih.T * sign), _aligned(weight_hh.T * sign)
    return Prepared(weight_ih, weight_hh, from_x, from_h, bias * sign, bias_hh[2 * H :], dtype)


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
        The output `[T, B, H]`, which is h_1 to h_T, and h_n `[B, H]`, which is h_T. Types of 16
        bits are float32 in between.
    """
    (T, B, I), H, wide = x.shape, h0.shape[1], cell.from_x.dtype
    rows, h = x.reshape(T * B, I).astype(wide, copy=False), h0.astype(wide, copy=False)
    output = np.empty((T, B, H), wide)

    length = max(1, min(T, ROWS // max(1, B)))  # steps whose inputs are projected at a time
    projected = np.empty((length, B, 3 * H), wide)
    flat = projected.reshape(length * B, 3 * H)
    gates, candidates = list(projected[:, :, : 2 * H]), list(projected[:, :, 2 * H :])
    to_r, to_z = list(projected[:, :, :H]), list(projected[:, :, H : 2 * H])
    recurrent = np.empty((B, 3 * H), wide)
    to_gates, to_candidate = recurrent[:, : 2 * H], recurrent[:, 2 * H :]

    from_h, bias_hn, one = cell.from_h, cell.bias_hn, np.ones((), wide)
    add, subtract, divide, exp, tanh = np.add, np.subtract, np.divide, np.exp, np.tanh
    with np.errstate(over="ignore"):
        for first in range(0, T, length):
            part = rows[first * B : (first + length) * B]
            np.dot(part, cell.from_x, out=flat[: len(part)])
            flat[: len(part)] += cell.bias
            steps = list(output[first : first + length])
            # Views: what is written to h_t is written to the output.
            for gates_t, n, r, z, h_t in zip(gates, candidates, to_r, to_z, steps, strict=False):
                h.dot(from_h, recurrent)
                add(gates_t, to_gates, gates_t)
                exp(gates_t, gates_t)
                add(gates_t, one, gates_t)
                add(to_candidate, bias_hn, to_candidate)
                divide(to_candidate, r, to_candidate)
                add(n, to_candidate, n)
                tanh(n, n)
                subtract(h, n, h_t)
                divide(h_t, z, h_t)
                add(h_t, n, h_t)
                h = h_t
    return output.astype(x.dtype, copy=False), h.astype(x.dtype)


def layer_backward(
    grad_output: Array, grad_h_n: Array, x: Array, h0: Array, output: Array, cell: Prepared
) -> tuple[Array, Array, Cell]:
    """Run backward through time over what `layer` did.

    With g_t for the gradient of h_t, q_t for h_{t-1} W_hn^T + b_hn, and grad_v for the gradient of
    what v's tanh or logistic function is taken of,

        g_t = grad_output_t + g_{t+1} z_{t+1} + [grad_r, grad_z, grad_n r]_{t+1} W_hh
        grad_n_t = g_t (1 - z_t) (1 - n_t^2)
        grad_z_t = g_t (h_{t-1} - n_t) z_t (1 - z_t)
        grad_r_t = grad_n_t q_t r_t (1 - r_t)

    which is the chain rule through the formula above (Werbos, 1990). The gates are computed again,
    from the output, for all time steps at once, as is all else that does not depend on g.

    Args:
        grad_output: `[T, B, H]`.
        grad_h_n: `[B, H]`.
        x: the input that `layer` was given, `[T, B, I]`.
        h0: what `layer` was given, `[B, H]`.
        output: what it returned, `[T, B, H]`.
        cell: what `layer` was given.

    Returns:
        The gradients of x `[T, B, I]`, h0 `[B, H]`, and of the four parameters given to `prepare`.
    """
    (T, B, I), H, wide = x.shape, h0.shape[1], cell.from_x.dtype
    flat_x = x.reshape(T * B, I).astype(wide, copy=False)
    before = np.concatenate((h0[None], output[:-1])).astype(wide, copy=False)
    flat_before = before.reshape(T * B, H)

    projected = (np.dot(flat_x, cell.from_x) + cell.bias).reshape(T, B, 3, H)
    recurrent = np.dot(flat_before, cell.from_h).reshape(T, B, 3, H)
    recurrent[:, :, 2] += cell.bias_hn
    q = recurrent[:, :, 2]
    gates = projected[:, :, :2] + recurrent[:, :, :2]
    with np.errstate(over="ignore"):
        np.exp(gates, out=gates)
    gates += 1
    np.reciprocal(gates, out=gates)
    r, z = gates[:, :, 0], np.ascontiguousarray(gates[:, :, 1])
    n = np.tanh(projected[:, :, 2] + r * q)

    # What the gradient of h_t is multiplied by.
    to_n = (1 - z) * (1 - n * n)
    factors = projected
    np.multiply(to_n, r, out=factors[:, :, 2])
    np.multiply(factors[:, :, 2] * q, 1 - r, out=factors[:, :, 0])
    np.multiply((before - n) * z, 1 - z, out=factors[:, :, 1])

    grad_a = factors.reshape(T, B, 3 * H)  # of h's product; in place
    grads = np.empty((T, B, 1, H), wide)
    grad_h, passed = grad_h_n.astype(wide), np.empty((B, H), wide)
    given = grad_output.astype(wide, copy=False)
    backward = (list(a[::-1]) for a in (factors, grad_a, grads, grads[:, :, 0], z, given))
    for factors_t, grad_a_t, grad, grad_t, z_t, given_t in zip(*backward, strict=True):
        np.add(grad_h, given_t, grad_t)
        np.multiply(factors_t, grad, factors_t)
        np.multiply(grad_t, z_t, passed)
        grad_a_t.dot(cell.weight_hh, grad_h)
        np.add(grad_h, passed, grad_h)

    flat, ones = grad_a.reshape(T * B, 3 * H), np.ones(T * B, wide)
    grad_bias_hh, grad_weight_hh = np.dot(ones, flat), np.dot(flat.T, flat_before)
    np.multiply(grads[:, :, 0], to_n, out=factors[:, :, 2])  # for x's product n's without r
    grad_bias_ih, grad_weight_ih = np.dot(ones, flat), np.dot(flat.T, flat_x)
    grad_x = np.dot(flat, cell.weight_ih).reshape(T, B, I)
    of_cell = (grad_weight_ih, grad_weight_hh, grad_bias_ih, grad_bias_hh)
    found = [a.astype(cell.dtype, copy=False) for a in (grad_x, grad_h, *of_cell)]
    return found[0], found[1], (found[2], found[3], found[4], found[5])
