"""The recurrence in JAX: `lax.scan` over time, compiled by XLA.

    h_t = tanh(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh)

Source of the formula: the documentation of `torch.nn.RNN`. The input products of all time steps are
one matrix product, unless that is tiny; the scan carries the hidden state and stacks what it was
after each step. JAX differentiates through it all.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]

framework = "jax"
dtypes = ("float64", "float32", "float16", "bfloat16")

# Weights of an input product up to which each step makes its own: XLA makes so small a product in
# place, and nothing need be written and read again.
IN_STEP_UP_TO = 2**9

# Multiply-adds of a recurrent product from which two steps per iteration are faster.
UNROLL_FROM = 2**24


class Prepared(NamedTuple):
    """A cell's weights, laid out as products read them."""

    from_x: Array  # weight_ih^T, [I, H]
    from_h: Array  # weight_hh^T, [H, H]
    bias: Array  # bias_ih + bias_hh, [H]


def prepare(cell: Cell, nonlinearity: str) -> Prepared:
    """Do what is done once per set of weights.

    Where it is compiled with what follows, as it is when differentiated, the barrier keeps XLA from
    moving the transposition into the loop.

    Args:
        cell: `(weight_ih [H, I], weight_hh [H, H], bias_ih [H], bias_hh [H])`.
        nonlinearity: not needed.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = cell
    from_h = jax.lax.optimization_barrier(weight_hh.T)
    return Prepared(weight_ih.T, from_h, bias_ih + bias_hh)


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
    activate = {"tanh": jnp.tanh, "relu": jax.nn.relu}[nonlinearity]
    B, H = h0.shape
    in_step = cell.from_x.size <= IN_STEP_UP_TO

    def step(h: Array, x_t: Array) -> tuple[Array, Array]:
        projected_t = x_t @ cell.from_x if in_step else x_t
        # The bias is added here, where it costs nothing, and not in a pass over all steps.
        h = activate(projected_t + cell.bias + h @ cell.from_h)
        return h, h

    steps = x if in_step else x @ cell.from_x
    unroll = 2 if B * H * H >= UNROLL_FROM else 1
    h, output = jax.lax.scan(step, h0, steps, unroll=unroll)
    return output, h
