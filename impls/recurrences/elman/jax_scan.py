"""The recurrence in JAX: `lax.scan` over time, compiled by XLA, and differentiated by hand.

    h_t = tanh(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh)

Source of the formula: the documentation of `torch.nn.RNN`. The input products of many steps are
one matrix product; the scan carries the hidden state and writes it into the output. Backward, with
s_t for the gradient of what tanh is taken of,

    s_t = (dL/dh_t + s_{t+1} W_hh) (1 - h_t^2)

is a scan in reverse, and each weight's gradient one product over all steps, where JAX's own
transposition of the forward scan adds up a product per step. It can be differentiated again and
mapped (`jax.vmap`), but only in reverse (`jax.grad`, `jax.vjp`; not `jax.jvp`).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]

# from_x = weight_ih^T [I, H], from_h = weight_hh^T [H, H], bias_ih + bias_hh [H]. No named tuple:
# JAX unpacks its arguments at every call, and a plain one costs it 0.2 us less.
Prepared = tuple[Array, Array, Array]

framework = "jax"
dtypes = ("float64", "float32", "float16", "bfloat16")

# Weights of an input product up to which each step makes its own: XLA makes so small a product in
# place, and nothing need be written and read again.
IN_STEP_UP_TO = 2**9

# Rows of the input products that are made at a time: at most so many, and so many per hidden unit.
# More would be out of the cache when they are read, and their memory is new with every call; with
# fewer, weights are read again too often.
ROWS, ROWS_PER_UNIT = 2**10, 4

# Multiply-adds of a recurrent product from which two steps per iteration are faster.
UNROLL_FROM = 2**24


@partial(jax.jit, static_argnames="nonlinearity")
def prepare(cell: Cell, nonlinearity: str) -> Prepared:
    """Do what is done once per set of weights.

    Args:
        cell: `(weight_ih [H, I], weight_hh [H, H], bias_ih [H], bias_hh [H])`.
        nonlinearity: not needed.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = cell
    return weight_ih.T, weight_hh.T, bias_ih + bias_hh


@partial(jax.jit, static_argnames="nonlinearity")
def layer(x: Array, h0: Array, cell: Prepared, nonlinearity: str) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        cell: what `prepare` returned.
        nonlinearity: "tanh" or "relu".

    Returns:
        The output `[T, B, H]`, which is h_1 to h_T, and h_n `[B, H]`, which is h_T.
    """
    if len(x) == 0:  # the blocks of no steps have no length
        return jnp.zeros((0, *h0.shape), x.dtype), h0
    return _layer(nonlinearity, x, h0, cell)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _layer(nonlinearity: str, x: Array, h0: Array, cell: Prepared) -> tuple[Array, Array]:
    from_x, from_h, bias = cell
    activate = {"tanh": jnp.tanh, "relu": jax.nn.relu}[nonlinearity]
    (T, B, I), H = x.shape, h0.shape[1]
    in_step = I * H <= IN_STEP_UP_TO

    def step(carried: tuple[Array, Array], now: tuple[Array, Array]) -> tuple[Any, None]:
        (h, output), (t, input_t) = carried, now
        projected_t = input_t @ from_x if in_step else input_t
        # The bias is added here, where it costs nothing, and not in a pass over all steps.
        h = activate(projected_t + bias + h @ from_h)
        return (h, jax.lax.dynamic_update_index_in_dim(output, h, t, axis=0)), None

    def block(carried: tuple[Array, Array], now: tuple[Array, Array]) -> tuple[Any, None]:
        times, inputs = now
        steps = (times, inputs if in_step else inputs @ from_x)
        return jax.lax.scan(step, carried, steps, unroll=_unrolled(B, H))

    length = T if in_step else _block_length(T, B, H)
    blocks = (jnp.arange(T).reshape(T // length, length), x.reshape(T // length, length, B, I))
    (h, output), _ = jax.lax.scan(block, (h0, jnp.zeros((T, B, H), x.dtype)), blocks)
    return output, h


def _block_length(T: int, B: int, H: int) -> int:
    """Return how many steps' inputs are projected at a time: as many in each block, or else all."""
    most = min(T, max(1, min(ROWS, ROWS_PER_UNIT * H) // max(1, B)))
    length = max(n for n in range(1, most + 1) if T % n == 0)
    return length if 4 * length > most else T


def _unrolled(B: int, H: int) -> int:
    return 2 if B * H * H >= UNROLL_FROM else 1


def _forward(
    nonlinearity: str, x: Array, h0: Array, cell: Prepared
) -> tuple[tuple[Array, Array], tuple[Any, ...]]:
    output, h_n = _layer(nonlinearity, x, h0, cell)
    return (output, h_n), (x, h0, cell, output)


def _backward(
    nonlinearity: str, saved: tuple[Any, ...], gradients: tuple[Array, Array]
) -> tuple[Array, Array, Prepared]:
    (x, h0, (from_x, from_h, _), output), (grad_output, grad_h_n) = saved, gradients
    (T, B, I), H = x.shape, h0.shape[1]

    def step(grad_h: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        h, grad_output_t = now
        slope = {"tanh": 1 - h * h, "relu": (h > 0).astype(h.dtype)}[nonlinearity]
        grad_sum = (grad_h + grad_output_t) * slope
        return grad_sum @ from_h.T, grad_sum

    steps = (output, grad_output)
    grad_h0, sums = jax.lax.scan(step, grad_h_n, steps, reverse=True, unroll=_unrolled(B, H))
    grad_x = sums @ from_x.T
    rows, previous = sums.reshape(T * B, H), jnp.concatenate([h0[None], output[:-1]])
    grad_from_x, grad_from_h = x.reshape(T * B, I).T @ rows, previous.reshape(T * B, H).T @ rows
    return grad_x, grad_h0, (grad_from_x, grad_from_h, rows.sum(0))


_layer.defvjp(_forward, _backward)
