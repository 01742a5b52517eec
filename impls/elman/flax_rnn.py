"""Flax: `nnx.RNN` over `nnx.SimpleCell`.

It has one bias, which is given the sum of both; kernels are (in, out); it returns the carry first,
and is batch-major unless told otherwise.
"""

import jax
from flax import nnx

Array = jax.Array
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]

framework = "jax"
dtypes = ("float64", "float32", "float16", "bfloat16")


def layer(x: Array, h0: Array, cell: Cell, nonlinearity: str) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        cell: `(weight_ih [H, I], weight_hh [H, H], bias_ih [H], bias_hh [H])`.
        nonlinearity: "tanh" or "relu".

    Returns:
        The output `[T, B, H]` and h_n `[B, H]`.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = cell
    module = nnx.SimpleCell(
        in_features=x.shape[2],
        hidden_features=h0.shape[1],
        activation_fn={"tanh": nnx.tanh, "relu": nnx.relu}[nonlinearity],
        dtype=x.dtype,
        param_dtype=x.dtype,
        rngs=nnx.Rngs(0),
    )
    module.dense_i.kernel = nnx.Param(weight_ih.T)
    module.dense_i.bias = nnx.Param(bias_ih + bias_hh)
    module.dense_h.kernel = nnx.Param(weight_hh.T)
    rnn = nnx.RNN(module, time_major=True, return_carry=True)
    h_n, output = rnn(x, initial_carry=h0)
    return output, h_n
