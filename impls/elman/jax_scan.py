"""The recurrence in JAX: `lax.scan` over time, compiled by XLA.

    h_t = tanh(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh)

Source of the formula: the documentation of `torch.nn.RNN`. The input products of all time steps
are one matrix product; the scan carries the hidden state and stacks what it was after each step.
The recurrent weight is transposed once, before the loop: the barrier keeps XLA from moving that
into it. JAX differentiates through it all.
"""

from functools import partial

import jax
import jax.numpy as jnp

Array = jax.Array
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]

framework = "jax"
dtypes = ("float64", "float32", "float16", "bfloat16")

# Multiply-adds per step from which two steps per iteration are faster; below, they are slower.
UNROLL_FROM = 2**23


@partial(jax.jit, static_argnames="nonlinearity")
def layer(x: Array, h0: Array, cell: Cell, nonlinearity: str) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        cell: `(weight_ih [H, I], weight_hh [H, H], bias_ih [H], bias_hh [H])`.
        nonlinearity: "tanh" or "relu".

    Returns:
        The output `[T, B, H]`, which is h_1 to h_T, and h_n `[B, H]`, which is h_T.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = cell
    activate = {"tanh": jnp.tanh, "relu": jax.nn.relu}[nonlinearity]

    bias, projected = bias_ih + bias_hh, x @ weight_ih.T
    transposed = jax.lax.optimization_barrier(weight_hh.T)

    def step(h: Array, projected_t: Array) -> tuple[Array, Array]:
        h = activate(projected_t + bias + h @ transposed)
        return h, h

    unroll = 2 if h0.size * h0.shape[1] >= UNROLL_FROM else 1
    h, output = jax.lax.scan(step, h0, projected, unroll=unroll)
    return output, h
