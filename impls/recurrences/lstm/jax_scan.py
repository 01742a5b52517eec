"""The LSTM in JAX: `lax.scan` over time, compiled by XLA, and differentiated by hand.

    i_t, f_t, o_t = s(x_t W_i^T + b_i + h_{t-1} W_h^T + b_h)     s(a) = 1 / (1 + exp(-a))
              g_t = tanh(x_t W_i^T + b_i + h_{t-1} W_h^T + b_h)  each with weights of its own
              c_t = f_t c_{t-1} + i_t g_t
              h_t = o_t tanh(c_t)

Source of the formula: the documentation of `torch.nn.LSTM`, after Hochreiter and Schmidhuber
(1997), with the forget gate f_t of Gers, Schmidhuber and Cummins (2000). The input products of many
steps are one matrix product; the scan carries the states and writes h into the output. Backward,
with dh_t and dc_t for the gradients of h_t and c_t, and grad_v for the gradient of what v's tanh or
logistic function is taken of,

    dh_t = grad_output_t + [grad_i, grad_f, grad_g, grad_o]_{t+1} W_hh
    dc_t = dh_t o_t (1 - tanh(c_t)^2) + dc_{t+1} f_{t+1}
    grad_i_t = dc_t g_t i_t (1 - i_t)            grad_f_t = dc_t c_{t-1} f_t (1 - f_t)
    grad_g_t = dc_t i_t (1 - g_t^2)              grad_o_t = dh_t tanh(c_t) o_t (1 - o_t)

is a scan in reverse, and each weight's gradient one product over all steps, where JAX's own
transposition of the forward scan adds up a product per step. It can be differentiated again and
mapped (`jax.vmap`), but only in reverse (`jax.grad`, `jax.vjp`; not `jax.jvp`).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array
Cell = tuple[Array, Array, Array, Array]  # weight_ih [4H, I], weight_hh [4H, H], biases [4H]

# from_x = weight_ih^T [I, 4H], from_h = weight_hh^T [H, 4H], bias_ih + bias_hh [4H]; in float32 for
# types of 16 bits. No named tuple: JAX unpacks its arguments at every call, and a plain one costs
# it 0.2 us less.
Prepared = tuple[Array, Array, Array]

kind = "lstm"
framework = "jax"
dtypes = ("float64", "float32", "float16", "bfloat16")

# Weights of an input product up to which each step makes its own: XLA makes so small a product in
# place, and nothing need be written and read again. For many sequences so large a one, which stays
# in a core's cache.
IN_STEP_UP_TO, MANY, IN_STEP_OF_MANY_UP_TO = 2**9, 16, 2**18

# Rows of the input products that are made at a time: at most so many, and so many per hidden unit.
# More would be out of the cache when they are read, and their memory is new with every call; with
# fewer, weights are read again too often.
ROWS, ROWS_PER_UNIT = 2**10, 4

# Multiply-adds of a recurrent product from which two steps per iteration are faster.
UNROLL_FROM = 2**24


@jax.jit
def prepare(cell: Cell) -> Prepared:
    """Do what is done once per set of weights.

    Args:
        cell: `(weight_ih [4H, I], weight_hh [4H, H], bias_ih [4H], bias_hh [4H])`, rows i f g o.
    """
    wide = jnp.promote_types(cell[0].dtype, jnp.float32)
    weight_ih, weight_hh, bias_ih, bias_hh = (a.astype(wide) for a in cell)
    return weight_ih.T, weight_hh.T, bias_ih + bias_hh


@jax.jit
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
    if len(x) == 0:  # the blocks of no steps have no length
        return jnp.zeros((0, *h0.shape), x.dtype), h0, c0
    wide = cell[0].dtype
    output, h_n, c_n = _layer(x.astype(wide), h0.astype(wide), c0.astype(wide), cell)
    return output.astype(x.dtype), h_n.astype(x.dtype), c_n.astype(x.dtype)


@jax.custom_vjp
def _layer(x: Array, h0: Array, c0: Array, cell: Prepared) -> tuple[Array, Array, Array]:
    (output,), h_n, c_n = _recur(x, h0, c0, cell, 1)
    return output, h_n, c_n


def _recur(
    x: Array, h0: Array, c0: Array, cell: Prepared, kept: int
) -> tuple[tuple[Array, ...], Array, Array]:
    """Return the first so many of h, i, f, g, o and c of all steps, and the last h and c."""
    from_x, from_h, bias = cell
    (T, B, I), H = x.shape, h0.shape[1]
    in_step = from_x.size <= (IN_STEP_OF_MANY_UP_TO if B >= MANY else IN_STEP_UP_TO)

    def step(carried: tuple[Any, ...], now: tuple[Array, Array]) -> tuple[Any, None]:
        (h, c, written), (t, input_t) = carried, now
        projected_t = input_t @ from_x if in_step else input_t
        # The bias is added here, where it costs nothing, and not in a pass over all steps.
        a_i, a_f, a_g, a_o = jnp.split(projected_t + bias + h @ from_h, 4, axis=-1)
        i, f, g, o = _logistic(a_i), _logistic(a_f), jnp.tanh(a_g), _logistic(a_o)
        c = f * c + i * g
        h = o * jnp.tanh(c)
        new = (h, i, f, g, o, c)[:kept]
        written = tuple(
            jax.lax.dynamic_update_index_in_dim(all_steps, one, t, axis=0)
            for all_steps, one in zip(written, new, strict=True)
        )
        return (h, c, written), None

    def block(carried: tuple[Any, ...], now: tuple[Array, Array]) -> tuple[Any, None]:
        times, inputs = now
        if in_step:
            return jax.lax.scan(step, carried, now, unroll=_unrolled(B, H))
        return _scan_ahead(step, carried, (times, inputs @ from_x), unroll=_unrolled(B, H))

    length = T if in_step else _block_length(T, B, H)
    blocks = (jnp.arange(T).reshape(T // length, length), x.reshape(T // length, length, B, I))
    written = tuple(jnp.zeros((T, B, H), x.dtype) for _ in range(kept))
    (h, c, written), _ = jax.lax.scan(block, (h0, c0, written), blocks)
    return written, h, c


def _scan_ahead(
    step: Callable[..., Any], carried: Any, steps: Any, reverse: bool = False, unroll: int = 1
) -> tuple[Any, Any]:
    """Do as `lax.scan`, but copy what a step reads one step ahead, into what is carried.

    XLA vectorises no loop over elements that has to pick its step's slice, too.
    """
    towards = 1 if reverse else -1
    first = jax.tree.map(lambda a: a[-1 if reverse else 0], steps)
    following = jax.tree.map(lambda a: jnp.roll(a, towards, axis=0), steps)

    def ahead(state: tuple[Any, Any], later: Any) -> tuple[Any, Any]:
        carried, now = state
        carried, result = step(carried, now)
        return (carried, later), result

    (carried, _), results = jax.lax.scan(
        ahead, (carried, first), following, reverse=reverse, unroll=unroll
    )
    return carried, results


# XLA makes it of exp, not of tanh: it is right where it is near 0, too, which the tests check.
_logistic = jax.lax.logistic


def _block_length(T: int, B: int, H: int) -> int:
    """Return how many steps' inputs are projected at a time: as many in each block, or else all."""
    most = min(T, max(1, min(ROWS, ROWS_PER_UNIT * H) // max(1, B)))
    length = max(n for n in range(1, most + 1) if T % n == 0)
    return length if 4 * length > most else T


def _unrolled(B: int, H: int) -> int:
    return 2 if 4 * B * H * H >= UNROLL_FROM else 1


def _forward(
    x: Array, h0: Array, c0: Array, cell: Prepared
) -> tuple[tuple[Array, Array, Array], tuple[Any, ...]]:
    written, h_n, c_n = _recur(x, h0, c0, cell, 6)
    return (written[0], h_n, c_n), (x, h0, c0, cell, written)


def _backward(
    saved: tuple[Any, ...], gradients: tuple[Array, Array, Array]
) -> tuple[Array, Array, Array, Prepared]:
    x, h0, c0, (from_x, from_h, _), (output, *gates, c) = saved
    grad_output, grad_h_n, grad_c_n = gradients
    (T, B, I), H = x.shape, h0.shape[1]

    def step(carried: tuple[Array, Array], now: tuple[Array, ...]) -> tuple[Any, Array]:
        (grad_h, grad_c), (grad_output_t, i, f, g, o, c, c_before) = carried, now
        tanh_c = jnp.tanh(c)
        grad_h = grad_h + grad_output_t
        grad_c = grad_c + grad_h * o * (1 - tanh_c * tanh_c)
        of_gates = (
            grad_c * g * i * (1 - i),
            grad_c * c_before * f * (1 - f),
            grad_c * i * (1 - g * g),
            grad_h * tanh_c * o * (1 - o),
        )
        grad_a = jnp.concatenate(of_gates, axis=-1)
        return (grad_a @ from_h.T, grad_c * f), grad_a

    steps = (grad_output, *gates, c, jnp.concatenate([c0[None], c[:-1]]))
    carried, unroll = (grad_h_n, grad_c_n), _unrolled(B, H)
    (grad_h0, grad_c0), grad_a = jax.lax.scan(step, carried, steps, reverse=True, unroll=unroll)
    grad_x = grad_a @ from_x.T
    rows, before = grad_a.reshape(T * B, 4 * H), jnp.concatenate([h0[None], output[:-1]])
    grad_from_x, grad_from_h = x.reshape(T * B, I).T @ rows, before.reshape(T * B, H).T @ rows
    return grad_x, grad_h0, grad_c0, (grad_from_x, grad_from_h, rows.sum(0))


_layer.defvjp(_forward, _backward)
