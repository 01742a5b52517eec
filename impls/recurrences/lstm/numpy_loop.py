"""The LSTM in NumPy: a Python loop over time, every step written in place.

    i_t, f_t, o_t = s(x_t W_i^T + b_i + h_{t-1} W_h^T + b_h)     s(a) = 1 / (1 + exp(-a))
              g_t = tanh(likewise)                               each with weights of its own
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

    weight_ih: Array  # [4H, I], as it was, but for the order
    weight_hh: Array  # [4H, H], likewise
    from_x: Array  # [I, 4H]
    from_h: Array  # [H, 4H]
    bias: Array  # bias_ih + bias_hh, [4H]
    dtype: np.dtype[Any]  # of the cell


def prepare(cell: Cell) -> Prepared:
    """Do what is done once per set of weights.

    Args:
        cell: `(weight_ih [4H, I], weight_hh [4H, H], bias_ih [4H], bias_hh [4H])`, rows i f g o.
    """
    dtype = cell[0].dtype
    wide = np.promote_types(dtype, np.float32)
    weight_ih, weight_hh, bias_ih, bias_hh = (_reordered(a.astype(wide, copy=False)) for a in cell)
    sign = np.repeat(np.array((-1, -1, -1, 1), wide), weight_hh.shape[1])
    from_x, from_h = _aligned(weight_ih.T * sign), _aligned(weight_hh.T * sign)
    return Prepared(weight_ih, weight_hh, from_x, from_h, (bias_ih + bias_hh) * sign, dtype)


def _reordered(a: Array) -> Array:
    """Return rows i f g o as o i f g."""
    return np.roll(a, len(a) // 4, axis=0)


def _in_torchs_order(a: Array) -> Array:
    """Return rows o i f g as i f g o."""
    return np.roll(a, -(len(a) // 4), axis=0)


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
    (T, B, I), H, wide = x.shape, h0.shape[1], cell.from_x.dtype
    rows, h = x.reshape(T * B, I).astype(wide, copy=False), h0.astype(wide, copy=False)
    output = np.empty((T, B, H), wide)

    length = max(1, min(T, ROWS // max(1, B)))  # steps whose inputs are projected at a time
    projected = np.empty((length, B, 4 * H), wide)
    flat = projected.reshape(length * B, 4 * H)
    whole, gates = list(projected), list(projected[:, :, : 3 * H])
    candidates = list(projected[:, :, 3 * H :])
    to_o, i_and_f = list(projected[:, :, :H]), list(projected[:, :, H : 3 * H])
    recurrent = np.empty((B, 4 * H), wide)
    g_and_c, terms = np.empty((2, B, 2 * H), wide)
    g, c, i_times_g, f_times_c = g_and_c[:, :H], g_and_c[:, H:], terms[:, :H], terms[:, H:]
    c[:] = c0

    from_h, one = cell.from_h, np.ones((), wide)
    add, divide, exp, tanh = np.add, np.divide, np.exp, np.tanh
    with np.errstate(over="ignore"):
        for first in range(0, T, length):
            part = rows[first * B : (first + length) * B]
            np.dot(part, cell.from_x, out=flat[: len(part)])
            flat[: len(part)] += cell.bias
            steps = list(output[first : first + length])
            # Views: what is written to h_t is written to the output.
            of_steps = zip(whole, gates, candidates, to_o, i_and_f, steps, strict=False)
            for a_t, gates_t, candidate, o, by, h_t in of_steps:
                h.dot(from_h, recurrent)
                add(a_t, recurrent, a_t)
                exp(gates_t, gates_t)
                add(gates_t, one, gates_t)
                tanh(candidate, g)
                divide(g_and_c, by, terms)
                add(i_times_g, f_times_c, c)
                tanh(c, h_t)
                divide(h_t, o, h_t)
                h = h_t
    return output.astype(x.dtype, copy=False), h.astype(x.dtype), c.astype(x.dtype)


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
    flat_x = x.reshape(T * B, I).astype(wide, copy=False)
    before = np.concatenate((h0[None], output[:-1])).astype(wide, copy=False).reshape(T * B, H)

    a = np.dot(flat_x, cell.from_x)
    a += np.dot(before, cell.from_h)
    a += cell.bias
    factors = a.reshape(T, B, 4, H)
    gates, g = np.moveaxis(factors[:, :, :3], 2, 0).copy(), np.tanh(factors[:, :, 3])
    with np.errstate(over="ignore"):
        np.exp(gates, out=gates)
    gates += 1
    o, i, f = np.reciprocal(gates, out=gates)
    added, states = i * g, np.empty((T + 1, B, H), wide)
    states[0], c = c0, list(states)
    for t, (f_t, added_t) in enumerate(zip(f, added, strict=True)):
        np.multiply(f_t, c[t], c[t + 1])
        np.add(c[t + 1], added_t, c[t + 1])
    tanh_c = np.tanh(states[1:])

    # What the gradients of h_t and of c_t are multiplied by, where a was.
    np.multiply(tanh_c * o, 1 - o, out=factors[:, :, 0])
    np.multiply(added, 1 - i, out=factors[:, :, 1])
    np.multiply(states[:-1] * f, 1 - f, out=factors[:, :, 2])
    np.multiply(1 - g * g, i, out=factors[:, :, 3])
    to_c = (1 - tanh_c * tanh_c) * o

    grad_h, grad_c = grad_h_n.astype(wide), grad_c_n.astype(wide)
    grad_c_of_gates, of_c = grad_c[:, None], np.empty((B, H), wide)
    of_o, of_others, grad_a = factors[:, :, 0], factors[:, :, 1:], a.reshape(T, B, 4 * H)
    given = grad_output.astype(wide, copy=False)
    backward = (list(one[::-1]) for one in (of_o, of_others, grad_a, to_c, f, given))
    for of_o_t, of_others_t, grad_a_t, to_c_t, f_t, given_t in zip(*backward, strict=True):
        np.add(grad_h, given_t, grad_h)
        np.multiply(grad_h, to_c_t, of_c)
        np.add(grad_c, of_c, grad_c)
        np.multiply(of_o_t, grad_h, of_o_t)
        np.multiply(of_others_t, grad_c_of_gates, of_others_t)
        np.multiply(grad_c, f_t, grad_c)
        grad_a_t.dot(cell.weight_hh, grad_h)

    grad_bias = _in_torchs_order(np.dot(np.ones(T * B, wide), a))
    of_x = np.dot(a, cell.weight_ih).reshape(T, B, I)
    of_weight_ih = _in_torchs_order(np.dot(a.T, flat_x))
    of_weight_hh = _in_torchs_order(np.dot(a.T, before))
    of_cell = (of_weight_ih, of_weight_hh, grad_bias, grad_bias.copy())
    found = [one.astype(cell.dtype, copy=False) for one in (of_x, grad_h, grad_c, *of_cell)]
    return found[0], found[1], found[2], (found[3], found[4], found[5], found[6])
