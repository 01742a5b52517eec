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

    Those of r and z have their signs changed, so that steps find -a.
    """

    from_x: Array  # [3, I, H]
    from_h: Array  # [3, H, H]
    from_one: Array  # the same for a batch of one, [H, 3H]
    bias: Array  # what is added to the input's part: b_ih, for r and z b_hh, too, [3, 1, 1, H]
    bias_hn: Array  # [H]
    to_x: Array  # weight_ih with its own signs, [3, H, I]
    to_h: Array  # weight_hh with its own signs, [3, H, H]
    dtype: np.dtype[Any]  # of the cell


def prepare(cell: Cell) -> Prepared:
    """Do what is done once per set of weights.

    Args:
        cell: `(weight_ih [3H, I], weight_hh [3H, H], bias_ih [3H], bias_hh [3H])`, rows r z n.
    """
    dtype, H = cell[0].dtype, cell[1].shape[1]
    wide = np.promote_types(dtype, np.float32)
    to_x, to_h, bias_ih, bias_hh = (a.astype(wide).reshape(3, H, -1) for a in cell)
    sign = np.array((-1, -1, 1), wide)[:, None, None]
    from_x, from_h = (_aligned(a.swapaxes(1, 2) * sign) for a in (to_x, to_h))
    from_one = _aligned(from_h.swapaxes(0, 1).reshape(H, 3 * H))
    bias = bias_ih.copy()
    bias[:2] += bias_hh[:2]
    bias_hn = bias_hh[2].reshape(H)
    return Prepared(
        from_x, from_h, from_one, (bias * sign).reshape(3, 1, 1, H), bias_hn, to_x, to_h, dtype
    )


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
    (T, B, _), H, dtype, wide = x.shape, h0.shape[1], x.dtype, cell.from_x.dtype
    x, h, output = (
        x.astype(wide, copy=False),
        h0.astype(wide, copy=False),
        np.empty((T, B, H), wide),
    )
    length = max(1, min(T, ROWS // max(1, B)))
    projected = np.empty((3, length, B, H), wide)
    to_gates, to_n = list(projected[:2].swapaxes(0, 1)), list(projected[2])  # of each step

    # A step's own memory, where gates lie one after the other, each in one piece.
    sums = np.empty((3, B, H), wide)
    gates, (r, z, n), row = sums[:2], sums, sums.reshape(1, -1)
    bias_hn = np.empty((B, H), wide)
    bias_hn[:] = cell.bias_hn

    from_h, from_one, one = cell.from_h, cell.from_one, np.ones((), wide)
    matmul, add, subtract, divide = np.matmul, np.add, np.subtract, np.divide
    exp, tanh = np.exp, np.tanh
    with np.errstate(over="ignore"):
        for first in range(0, T, length):
            _project(x[first : first + length], cell, projected)
            # Views: what is written to h_t is written to the output.
            steps = list(output[first : first + length])
            for to_gates_t, to_n_t, h_t in zip(to_gates, to_n, steps, strict=False):
                if B == 1:
                    h.dot(from_one, row)
                else:
                    matmul(h, from_h, sums)
                add(gates, to_gates_t, gates)
                exp(gates, gates)
                add(gates, one, gates)
                add(n, bias_hn, n)
                divide(n, r, n)
                add(n, to_n_t, n)
                tanh(n, n)
                subtract(h, n, h_t)
                divide(h_t, z, h_t)
                add(h_t, n, h_t)
                h = h_t
    return output.astype(dtype, copy=False), h.astype(dtype)


def _project(x: Array, cell: Prepared, out: Array) -> None:
    """Write what x and the biases contribute to each gate: `[L, B, I]` to the first L of out."""
    L, B, I = x.shape
    part = out[:, :L]
    np.matmul(x.reshape(L * B, I), cell.from_x, out=part.reshape(3, L * B, out.shape[3]))
    part += cell.bias


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
    x, given, h = (a.astype(wide, copy=False) for a in (x, grad_output, h0))
    before = np.concatenate((h[None], output[:-1])).astype(wide, copy=False)

    # What g is multiplied by to be the gradient of each gate's product with h. For a batch of one
    # all gates of a step lie side by side, as its product reads them.
    memory = np.empty((T, 3, B, H) if B == 1 else (3, T, B, H), wide)
    of_a = memory.swapaxes(0, 1) if B == 1 else memory
    of_n, kept, gradients = np.empty((3, T, B, H), wide)
    length = max(1, min(T, ROWS // max(1, B)))
    for first in range(0, T, length):
        part = slice(first, first + length)
        _slopes(x[part], before[part], cell, of_a[:, part], of_n[part], kept[part])

    grad_h, passed = grad_h_n.astype(wide), np.empty((B, H), wide)
    parts, by_step, to_h = np.empty((3, B, H), wide), of_a.swapaxes(0, 1), cell.to_h
    flat_to_h = to_h.reshape(3 * H, H)
    backward = (list(a[::-1]) for a in (by_step, gradients, kept, given))
    for grad_a, gradient, kept_t, given_t in zip(*backward, strict=True):
        np.add(grad_h, given_t, gradient)
        np.multiply(grad_a, gradient, grad_a)
        np.multiply(gradient, kept_t, passed)
        if B == 1:
            grad_a.reshape(1, 3 * H).dot(flat_to_h, grad_h)
        else:
            np.matmul(grad_a, to_h, parts)
            np.add.reduce(parts, 0, out=grad_h)
        np.add(grad_h, passed, grad_h)

    ones, rows, flat_x = np.ones(T * B, wide), of_a.reshape(3, T * B, H), x.reshape(T * B, I)
    bias_hh, weight_hh = ones @ rows, rows.swapaxes(1, 2) @ before.reshape(T * B, H)
    np.multiply(gradients, of_n, of_a[2])  # the gradient of x's product has no factor r in n
    bias_ih, weight_ih = ones @ rows, rows.swapaxes(1, 2) @ flat_x
    grad_x = rows[0] @ cell.to_x[0]
    for of_gate, to_x in zip(rows[1:], cell.to_x[1:], strict=True):
        grad_x += of_gate @ to_x
    found = [
        a.reshape(shape).astype(cell.dtype)
        for a, shape in (
            (grad_x, (T, B, I)),
            (grad_h, (B, H)),
            (weight_ih, (3 * H, I)),
            (weight_hh, (3 * H, H)),
            (bias_ih, 3 * H),
            (bias_hh, 3 * H),
        )
    ]
    return found[0], found[1], (found[2], found[3], found[4], found[5])


def _slopes(x: Array, before: Array, cell: Prepared, of_a: Array, of_n: Array, kept: Array) -> None:
    """Compute the gates of some steps again, and write what gradients are multiplied by."""
    L, B, H = before.shape
    _project(x, cell, of_a)
    recurrent = np.matmul(before.reshape(L * B, H), cell.from_h).reshape(3, L, B, H)
    gates, q = recurrent[:2], recurrent[2]
    gates += of_a[:2]
    with np.errstate(over="ignore"):
        np.exp(gates, gates)
    gates += 1
    r, z = np.reciprocal(gates, gates)
    kept[:] = z
    q += cell.bias_hn
    n = r * q
    n += of_a[2]
    np.tanh(n, n)

    np.subtract(before, n, of_a[1])
    np.multiply(of_a[1], z, of_a[1])
    np.multiply(n, n, n)
    np.subtract(1, n, n)
    np.subtract(1, z, z)
    np.multiply(of_a[1], z, of_a[1])
    np.multiply(n, z, of_n)
    np.multiply(of_n, r, of_a[2])
    np.multiply(of_a[2], q, q)
    np.subtract(1, r, r)
    np.multiply(q, r, of_a[0])
