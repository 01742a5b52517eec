"""The GRU in JAX: `lax.scan` over time, compiled by XLA, and differentiated by hand.

    r_t = s(x_t W_ir^T + b_ir + h_{t-1} W_hr^T + b_hr)           s(a) = 1 / (1 + exp(-a))
    z_t = s(x_t W_iz^T + b_iz + h_{t-1} W_hz^T + b_hz)
    n_t = tanh(x_t W_in^T + b_in + r_t (h_{t-1} W_hn^T + b_hn))
    h_t = n_t + z_t (h_{t-1} - n_t)

Source of the formula: the documentation of `torch.nn.GRU`, after Cho et al. (2014), whose r_t
multiplies h_{t-1} before the product and not after it. The input products of many steps are one
matrix product; the scan carries the hidden state and writes it into the output. Backward, with g_t
for the gradient of h_t, q_t for h_{t-1} W_hn^T + b_hn, and grad_v for the gradient of what v's tanh
or logistic function is taken of,

    g_t = grad_output_t + g_{t+1} z_{t+1} + [grad_r, grad_z, grad_n r]_{t+1} W_hh
    grad_n_t = g_t (1 - z_t) (1 - n_t^2)
    grad_z_t = g_t (h_{t-1} - n_t) z_t (1 - z_t)
    grad_r_t = grad_n_t q_t r_t (1 - r_t)

is a scan in reverse, and each weight's gradient one product over all steps, where JAX's own
transposition of the forward scan adds up a product per step. It can be differentiated again and
mapped (`jax.vmap`), but only in reverse (`jax.grad`, `jax.vjp`; not `jax.jvp`).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array
Cell = tuple[Array, Array, Array, Array]  # weight_ih [3H, I], weight_hh [3H, H], biases [3H]

# from_x = weight_ih^T [I, 3H], from_h = weight_hh^T [H, 3H], what is added to the input's part
# (b_ih, for r and z b_hh, too) [3H], and b_hn [H]; in float32 for types of 16 bits. No named tuple:
# JAX unpacks its arguments at every call, and a plain one costs it 0.2 us less.
Prepared = tuple[Array, Array, Array, Array]

kind = "gru"
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
        cell: `(weight_ih [3H, I], weight_hh [3H, H], bias_ih [3H], bias_hh [3H])`, rows r z n.
    """
    wide, H = jnp.promote_types(cell[0].dtype, jnp.float32), cell[1].shape[1]
    weight_ih, weight_hh, bias_ih, bias_hh = (a.astype(wide) for a in cell)
    bias = bias_ih.at[: 2 * H].add(bias_hh[: 2 * H])
    return weight_ih.T, weight_hh.T, bias, bias_hh[2 * H :]


@jax.jit
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
    if len(x) == 0:  # the blocks of no steps have no length
        return jnp.zeros((0, *h0.shape), x.dtype), h0
    wide = cell[0].dtype
    output, h_n = _layer(x.astype(wide), h0.astype(wide), cell)
    return output.astype(x.dtype), h_n.astype(x.dtype)


@jax.custom_vjp
def _layer(x: Array, h0: Array, cell: Prepared) -> tuple[Array, Array]:
    (output,), h_n = _recur(x, h0, cell, 1)
    return output, h_n


def _recur(x: Array, h0: Array, cell: Prepared, kept: int) -> tuple[tuple[Array, ...], Array]:
    """Return the first so many of h, r, z, n and q of all steps, and the last h."""
    from_x, from_h, bias, bias_hn = cell
    (T, B, I), H = x.shape, h0.shape[1]
    in_step = from_x.size <= (IN_STEP_OF_MANY_UP_TO if B >= MANY else IN_STEP_UP_TO)

    def step(carried: tuple[Any, ...], now: tuple[Array, Array]) -> tuple[Any, None]:
        (h, written), (t, input_t) = carried, now
        projected_t = input_t @ from_x if in_step else input_t
        # The bias is added here, where it costs nothing, and not in a pass over all steps.
        a_r, a_z, a_n = jnp.split(projected_t + bias, 3, axis=-1)
        h_r, h_z, h_n = jnp.split(h @ from_h, 3, axis=-1)
        r, z, q = _logistic(a_r + h_r), _logistic(a_z + h_z), h_n + bias_hn
        n = jnp.tanh(a_n + r * q)
        h = n + z * (h - n)
        written = tuple(
            jax.lax.dynamic_update_index_in_dim(all_steps, one, t, axis=0)
            for all_steps, one in zip(written, (h, r, z, n, q)[:kept], strict=True)
        )
        return (h, written), None

    def block(carried: tuple[Any, ...], now: tuple[Array, Array]) -> tuple[Any, None]:
        times, inputs = now
        if in_step:
            return jax.lax.scan(step, carried, now, unroll=_unrolled(B, H))
        return _scan_ahead(step, carried, (times, inputs @ from_x), unroll=_unrolled(B, H))

    length = T if in_step else _block_length(T, B, H)
    blocks = (jnp.arange(T).reshape(T // length, length), x.reshape(T // length, length, B, I))
    written = tuple(jnp.zeros((T, B, H), x.dtype) for _ in range(kept))
    (h, written), _ = jax.lax.scan(block, (h0, written), blocks)
    return written, h


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
    return 2 if 3 * B * H * H >= UNROLL_FROM else 1


def _forward(x: Array, h0: Array, cell: Prepared) -> tuple[tuple[Array, Array], tuple[Any, ...]]:
    written, h_n = _recur(x, h0, cell, 5)
    return (written[0], h_n), (x, h0, cell, written)


def _backward(
    saved: tuple[Any, ...], gradients: tuple[Array, Array]
) -> tuple[Array, Array, Prepared]:
    (x, h0, (from_x, from_h, _, _), (output, *gates)), (grad_output, grad_h_n) = saved, gradients
    (T, B, I), H = x.shape, h0.shape[1]

    def step(grad_h: Array, now: tuple[Array, ...]) -> tuple[Array, tuple[Array, Array]]:
        grad_output_t, r, z, n, q, h_before = now
        grad_h = grad_h + grad_output_t
        grad_n = grad_h * (1 - z) * (1 - n * n)
        grad_z = grad_h * (h_before - n) * z * (1 - z)
        grad_r = grad_n * q * r * (1 - r)
        of_product = jnp.concatenate((grad_r, grad_z, grad_n * r), axis=-1)
        return grad_h * z + of_product @ from_h.T, (of_product, grad_n)

    before = jnp.concatenate([h0[None], output[:-1]])
    steps, unroll = (grad_output, *gates, before), _unrolled(B, H)
    grad_h0, (of_h, grad_n) = jax.lax.scan(step, grad_h_n, steps, reverse=True, unroll=unroll)
    of_x = jnp.concatenate((of_h[:, :, : 2 * H], grad_n), axis=-1)
    grad_x = of_x @ from_x.T
    rows_x, rows_h = of_x.reshape(T * B, 3 * H), of_h.reshape(T * B, 3 * H)
    grad_from_x = x.reshape(T * B, I).T @ rows_x
    grad_from_h = before.reshape(T * B, H).T @ rows_h
    of_cell = (grad_from_x, grad_from_h, rows_x.sum(0), rows_h[:, 2 * H :].sum(0))
    return grad_x, grad_h0, of_cell


_layer.defvjp(_forward, _backward)
