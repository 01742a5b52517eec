"""Flax: `nnx.RNN` over `nnx.OptimizedLSTMCell`.

It has one bias, which is given the sum of both; kernels are (in, out), gates in torch's order; the
carry is (c, h) and comes first; it is batch-major unless told otherwise.
"""

import jax
from flax import nnx

Array = jax.Array
Cell = tuple[Array, Array, Array, Array]  # weight_ih [4H, I], weight_hh [4H, H], biases [4H]
Kept = tuple[Array, Array, Array]  # kernels [I, 4H], [H, 4H], bias [4H], as the module has them

kind = "lstm"
framework = "jax"
dtypes = ("float64", "float32", "float16", "bfloat16")


def prepare(cell: Cell) -> Kept:
    """Return what the module keeps: kernels `[I, 4H]` and `[H, 4H]`, and one bias `[4H]`.

    Args:
        cell: `(weight_ih [4H, I], weight_hh [4H, H], bias_ih [4H], bias_hh [4H])`, rows i f g o.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = cell
    return weight_ih.T, weight_hh.T, bias_ih + bias_hh


def layer(x: Array, h0: Array, c0: Array, cell: Kept) -> tuple[Array, Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        c0: initial cell state, `[B, H]`.
        cell: what `prepare` returned.

    Returns:
        The output `[T, B, H]`, h_n and c_n `[B, H]`.
    """
    from_x, from_h, bias = cell
    module = nnx.OptimizedLSTMCell(
        in_features=x.shape[2],
        hidden_features=h0.shape[1],
        dtype=x.dtype,
        param_dtype=x.dtype,
        rngs=nnx.Rngs(0),
    )
    module.dense_i.kernel = nnx.Param(from_x)
    module.dense_h.kernel = nnx.Param(from_h)
    module.dense_h.bias = nnx.Param(bias)
    rnn = nnx.RNN(module, time_major=True, return_carry=True)
    (c_n, h_n), output = rnn(x, initial_carry=(c0, h0))
    return output, h_n, c_n
