"""The LSTM in NumPy: a Python loop over time, every step written in place.

    i_t, f_t, o_t = s(x_t W_i^T + b_i + h_{t-1} W_h^T + b_h)     s(a) = 1 / (1 + exp(-a))
              g_t = tanh(x_t W_i^T + b_i + h_{t-1} W_h^T + b_h)  each with weights of its own
              c_t = f_t c_{t-1} + i_t g_t
              h_t = o_t tanh(c_t)

Source of the formula: the documentation of `torch.nn.LSTM`, after Hochreiter and Schmidhuber
(1997), with the forget gate f_t of Gers, Schmidhuber and Cummins (2000). The input products of many
time steps are one matrix product. A gate is kept as 1 + exp(-a), by which is divided what it
multiplies: that is right to a few units in the last place wherever s(a) is a normal number, and
where exp overflows, s(a) is 0.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Cell = tuple[Array, Array, Array, Array]  # weight_ih [4H, I], weight_hh [4H, H], biases [4H]

kind = "lstm"
framework = "numpy"
dtypes = ("float64", "float32", "float16", "bfloat16")

# Bytes that a processor moves at once, and that a vector register has at most.
CACHE_LINE = 64

# Rows of the input products that are made at a time, so that they are still in the cache when a
# step reads them, in memory that is used again.
ROWS = 2**8


class Prepared(NamedTuple):
    """A cell's weights, laid out as products read them; in float32 for types of 16 bits.

    Gates are in the order o i f g: those with a logistic function lie together, and have their
    signs changed, so that steps find -a. So do those that c depends on, and those of one product.
    """

    from_x: Array  # [4, I, H]
    from_h: Array  # [4, H, H]
    from_one: Array  # the same for a batch of one, [H, 4H]
    bias: Array  # bias_ih + bias_hh, [4, 1, 1, H]
    to_x: Array  # weight_ih with its own signs, [4, H, I]
    to_h: Array  # weight_hh with its own signs, [4, H, H]
    dtype: np.dtype[Any]  # of the cell


def prepare(cell: Cell) -> Prepared:
    """Do what is done once per set of weights.

    Args:
        cell: `(weight_ih [4H, I], weight_hh [4H, H], bias_ih [4H], bias_hh [4H])`, rows i f g o.
    """
    dtype, H = cell[0].dtype, cell[1].shape[1]
    wide = np.promote_types(dtype, np.float32)
    to_x, to_h, bias_ih, bias_hh = (
        np.roll(a.astype(wide).reshape(4, H, -1), 1, axis=0) for a in cell
    )
    sign = np.array((-1, -1, -1, 1), wide)[:, None, None]
    from_x, from_h = (_aligned(a.swapaxes(1, 2) * sign) for a in (to_x, to_h))
    from_one = _aligned(from_h.swapaxes(0, 1).reshape(H, 4 * H))
    bias = ((bias_ih + bias_hh) * sign).reshape(4, 1, 1, H)
    return Prepared(from_x, from_h, from_one, bias, to_x, to_h, dtype)


def _aligned(a: Array) -> Array:
    """Return a copy that starts where a cache line does: NumPy's own arrays need not."""
    memory = np.empty(a.nbytes + CACHE_LINE, np.uint8)
    first = -memory.ctypes.data % CACHE_LINE
    copy = memory[first : first + a.nbytes].view(a.dtype).reshape(a.shape)
    copy[:] = a
    return copy


def layer(x: Array, h0: Array, c0: Array, cell: Prepared) -> tuple[Array, Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        c0: initial cell state, `[B, H]`.
        cell: what `prepare` returned.

    Returns:
        The output `[T, B, H]`, which is h_1 to h_T, h_n `[B, H]`, which is h_T, and c_n `[B, H]`,
        which is c_T. Types of 16 bits are float32 in between.
    """
    (T, B, _), H, dtype, wide = x.shape, h0.shape[1], x.dtype, cell.from_x.dtype
    x, h, output = (
        x.astype(wide, copy=False),
        h0.astype(wide, copy=False),
        np.empty((T, B, H), wide),
    )
    length = max(1, min(T, ROWS // max(1, B)))
    projected = np.empty((4, length, B, H), wide)
    inputs = list(projected.swapaxes(0, 1))  # of each step of a block, [4, B, H]

    # A step's own memory, where gates lie one after the other, each in one piece.
    sums, g_and_c, products = (np.empty((n, B, H), wide) for n in (4, 2, 2))
    gates, o, i_and_f, candidate, row = sums[:3], sums[0], sums[1:3], sums[3], sums.reshape(1, -1)
    (g, c), (i_times_g, f_times_c) = g_and_c, products
    c[:] = c0

    from_h, from_one, one = cell.from_h, cell.from_one, np.ones((), wide)
    matmul, add, divide, exp, tanh = np.matmul, np.add, np.divide, np.exp, np.tanh
    with np.errstate(over="ignore"):
        for first in range(0, T, length):
            _project(x[first : first + length], cell, projected)
            # Views: what is written to h_t is written to the output.
            for input_t, h_t in zip(inputs, list(output[first : first + length]), strict=False):
                if B == 1:
                    h.dot(from_one, row)
                else:
                    matmul(h, from_h, sums)
                add(sums, input_t, sums)
                exp(gates, gates)
                add(gates, one, gates)
                tanh(candidate, g)
                divide(g_and_c, i_and_f, products)
                add(i_times_g, f_times_c, c)
                tanh(c, h_t)
                divide(h_t, o, h_t)
                h = h_t
    return output.astype(dtype, copy=False), h.astype(dtype), c.astype(dtype)


def _project(x: Array, cell: Prepared, out: Array) -> None:
    """Write what x and the biases contribute to each gate: `[L, B, I]` to the first L of out."""
    L, B, I = x.shape
    part = out[:, :L]
    np.matmul(x.reshape(L * B, I), cell.from_x, out=part.reshape(4, L * B, out.shape[3]))
    part += cell.bias


def layer_backward(
    grad_output: Array,
    grad_h_n: Array,
    grad_c_n: Array,
    x: Array,
    h0: Array,
    c0: Array,
    output: Array,
    cell: Prepared,
) -> tuple[Array, Array, Array, Cell]:
    """Run backward through time over what `layer` did.

    With dh_t and dc_t for the gradients of h_t and c_t, and grad_v for the gradient of what v's
    tanh or logistic function is taken of,

        dh_t = grad_output_t + [grad_i, grad_f, grad_g, grad_o]_{t+1} W_hh
        dc_t = dh_t o_t (1 - tanh(c_t)^2) + dc_{t+1} f_{t+1}
        grad_i_t = dc_t g_t i_t (1 - i_t)            grad_f_t = dc_t c_{t-1} f_t (1 - f_t)
        grad_o_t = dh_t tanh(c_t) o_t (1 - o_t)      grad_g_t = dc_t i_t (1 - g_t^2)

    which is the chain rule through the formula above (Werbos, 1990), all of it: Hochreiter and
    Schmidhuber (1997) cut it off at the gates. Gates and cell states are computed again, from the
    output, and what does not depend on another step is done for all time steps at once.

    Args:
        grad_output: `[T, B, H]`.
        grad_h_n: `[B, H]`.
        grad_c_n: `[B, H]`.
        x: the input that `layer` was given, `[T, B, I]`.
        h0: what `layer` was given, `[B, H]`.
        c0: what `layer` was given, `[B, H]`.
        output: what it returned, `[T, B, H]`.
        cell: what `layer` was given.

    Returns:
        The gradients of x `[T, B, I]`, h0 `[B, H]`, c0 `[B, H]`, and of the four parameters given
        to `prepare`.
    """
    (T, B, I), H, wide = x.shape, h0.shape[1], cell.from_x.dtype
    x, given, h, c = (a.astype(wide, copy=False) for a in (x, grad_output, h0, c0))
    before = np.concatenate((h[None], output[:-1])).astype(wide, copy=False)

    # What the gradients of h_t and c_t are multiplied by to be those of a, and of c_{t-1}. For a
    # batch of one all gates of a step lie side by side, as its product reads them.
    memory = np.empty((T, 4, B, H) if B == 1 else (4, T, B, H), wide)
    of_a, (to_c, kept) = memory.swapaxes(0, 1) if B == 1 else memory, np.empty((2, T, B, H), wide)
    length = max(1, min(T, ROWS // max(1, B)))
    for first in range(0, T, length):
        part = slice(first, first + length)
        c = _slopes(x[part], before[part], c, cell, of_a[:, part], to_c[part], kept[part])

    grad_h, grad_c, of_c = grad_h_n.astype(wide), grad_c_n.astype(wide), np.empty((B, H), wide)
    parts, by_step, to_h = np.empty((4, B, H), wide), of_a.swapaxes(0, 1), cell.to_h
    flat_to_h = to_h.reshape(4 * H, H)
    backward = (list(a[::-1]) for a in (by_step, by_step[:, 0], by_step[:, 1:], to_c, kept, given))
    for grad_a, grad_o, grad_others, to_c_t, kept_t, given_t in zip(*backward, strict=True):
        np.add(grad_h, given_t, grad_h)
        np.multiply(grad_h, to_c_t, of_c)
        np.add(grad_c, of_c, grad_c)
        np.multiply(grad_o, grad_h, grad_o)
        np.multiply(grad_others, grad_c, grad_others)
        np.multiply(grad_c, kept_t, grad_c)
        if B == 1:
            grad_a.reshape(1, 4 * H).dot(flat_to_h, grad_h)
        else:
            np.matmul(grad_a, to_h, parts)
            np.add.reduce(parts, 0, out=grad_h)

    rows = of_a.reshape(4, T * B, H)
    columns = rows.swapaxes(1, 2)
    grad_x = rows[0] @ cell.to_x[0]
    for of_gate, to_x in zip(rows[1:], cell.to_x[1:], strict=True):
        grad_x += of_gate @ to_x
    grad_bias = np.ones(T * B, wide) @ rows
    of_cell = (columns @ x.reshape(T * B, I), columns @ before.reshape(T * B, H), grad_bias)
    weight_ih, weight_hh, bias = (np.roll(a, -1, axis=0) for a in of_cell)
    found = [
        a.reshape(shape).astype(cell.dtype)
        for a, shape in (
            (grad_x, (T, B, I)),
            (grad_h, (B, H)),
            (grad_c, (B, H)),
            (weight_ih, (4 * H, I)),
            (weight_hh, (4 * H, H)),
            (bias, 4 * H),
            (bias, 4 * H),
        )
    ]
    return found[0], found[1], found[2], (found[3], found[4], found[5], found[6])


def _slopes(
    x: Array, before: Array, c: Array, cell: Prepared, of_a: Array, to_c: Array, kept: Array
) -> Array:
    """Compute some steps again, and write what gradients are multiplied by; return the last c."""
    L, B, H = before.shape
    _project(x, cell, of_a)
    of_a += np.matmul(before.reshape(L * B, H), cell.from_h).reshape(4, L, B, H)
    gates, g = of_a[:3].copy(), np.tanh(of_a[3])
    with np.errstate(over="ignore"):
        np.exp(gates, gates)
    gates += 1
    o, i, f = np.reciprocal(gates, gates)
    kept[:] = f
    added, states = i * g, np.empty((L + 1, B, H), c.dtype)
    states[0] = c
    for f_t, added_t, c_t, c_next in zip(f, added, states, states[1:], strict=False):
        np.multiply(f_t, c_t, c_next)
        np.add(c_next, added_t, c_next)
    tanh_c = np.tanh(states[1:])

    np.multiply(tanh_c, tanh_c, to_c)
    np.subtract(1, to_c, to_c)
    np.multiply(to_c, o, to_c)
    tanh_c *= o
    np.multiply(g, g, g)
    np.subtract(1, g, g)
    np.multiply(g, i, of_a[3])
    np.subtract(1, gates, gates)
    np.multiply(tanh_c, gates[0], of_a[0])
    np.multiply(added, gates[1], of_a[1])
    np.multiply(states[:-1], kept, of_a[2])
    np.multiply(of_a[2], gates[2], of_a[2])
    last: Array = states[-1]
    return last
