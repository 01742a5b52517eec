"""The recurrence in JAX: `lax.scan` over time, compiled by XLA.

    h_t = tanh(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh)

Source of the formula: the documentation of `torch.nn.RNN`. The scan carries the hidden state and
stacks what it was after each step. The input products of all time steps are one matrix product
before it, or each step makes its own, whichever is faster at the size. Weights are transposed once:
the barrier keeps XLA from moving that into the loop. JAX differentiates through it all.
"""

from functools import partial

import jax
import jax.numpy as jnp

Array = jax.Array
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]

framework = "jax"
dtypes = ("float64", "float32", "float16", "bfloat16")

# Each step makes its own input product where it has up to so many inputs per sequence: it reads the
# weights again, but the products of all steps need not be written and read.
INPUTS_PER_ROW = 16

# Multiply-adds of a recurrent product from which two steps per iteration are faster.
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
    (_, B, I), H = x.shape, h0.shape[1]
    activate = {"tanh": jnp.tanh, "relu": jax.nn.relu}[nonlinearity]

    bias, from_h = bias_ih + bias_hh, jax.lax.optimization_barrier(weight_hh.T)
    in_step = I <= INPUTS_PER_ROW * B
    if in_step:
        steps, from_x = x, jax.lax.optimization_barrier(weight_ih.T)
    else:
        steps = x @ weight_ih.T

    def step(h: Array, x_t: Array) -> tuple[Array, Array]:
        projected_t = x_t @ from_x if in_step else x_t
        h = activate(projected_t + bias + h @ from_h)
        return h, h

    unroll = 2 if B * H * H >= UNROLL_FROM else 1
    h, output = jax.lax.scan(step, h0, steps, unroll=unroll)
    return output, h
