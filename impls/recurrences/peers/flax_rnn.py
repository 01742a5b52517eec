"""Flax: `nnx.RNN` over `nnx.SimpleCell`.

It has one bias, which is given the sum of both; kernels are (in, out); it returns the carry first,
and is batch-major unless told otherwise.
"""

import jax
from flax import nnx

Array = jax.Array
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]
Kept = tuple[Array, Array, Array]  # kernels [I, H], [H, H] and bias [H], as the module has them

framework = "jax"
dtypes = ("float64", "float32", "float16", "bfloat16")


def prepare(cell: Cell, nonlinearity: str) -> Kept:
    """Return what the module keeps: kernels `[I, H]` and `[H, H]`, and one bias `[H]`.

    Args:
        cell: `(weight_ih [H, I], weight_hh [H, H], bias_ih [H], bias_hh [H])`.
        nonlinearity: not needed.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = cell
    return weight_ih.T, weight_hh.T, bias_ih + bias_hh


def layer(x: Array, h0: Array, cell: Kept, nonlinearity: str) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        cell: what `prepare` returned.
        nonlinearity: "tanh" or "relu".

    Returns:
        The output `[T, B, H]` and h_n `[B, H]`.
    """
    from_x, from_h, bias = cell
    module = nnx.SimpleCell(
        in_features=x.shape[2],
        hidden_features=h0.shape[1],
        activation_fn={"tanh": nnx.tanh, "relu": nnx.relu}[nonlinearity],
        dtype=x.dtype,
        param_dtype=x.dtype,
        rngs=nnx.Rngs(0),
    )
    module.dense_i.kernel = nnx.Param(from_x)
    module.dense_i.bias = nnx.Param(bias)
    module.dense_h.kernel = nnx.Param(from_h)
    rnn = nnx.RNN(module, time_major=True, return_carry=True)
    h_n, output = rnn(x, initial_carry=h0)
    return output, h_n
