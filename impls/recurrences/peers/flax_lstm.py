"""Flax: `nnx.RNN` and `nnx.Bidirectional` over `nnx.OptimizedLSTMCell`.

It has one bias, which is given the sum of both; kernels are (in, out), gates in torch's order.
"""

from typing import Any

import jax
from flax import nnx

from recurrences.peers import flax_layers, flax_nnx

Array = jax.Array
Kept = tuple[Array, Array, Array]  # kernels [I, 4H], [H, 4H], bias [4H], as the module has them

kind = "lstm"
framework = "jax"
dtypes = ("float64", "float32", "float16", "bfloat16")
supports = flax_layers.SUPPORTS
prepare = flax_nnx.prepare


def _cell(kept: Kept) -> nnx.OptimizedLSTMCell:
    from_x, from_h, bias = kept
    module = nnx.OptimizedLSTMCell(
        in_features=from_x.shape[0],
        hidden_features=from_h.shape[0],
        dtype=from_x.dtype,
        param_dtype=from_x.dtype,
        rngs=nnx.Rngs(0),
    )
    module.dense_i.kernel = nnx.Param(from_x)
    module.dense_h.kernel = nnx.Param(from_h)
    module.dense_h.bias = nnx.Param(bias)
    return module


def rnn(
    x: Array, h0: Any, kept: list[Kept], config: Any, lengths: Array | None
) -> tuple[Array, Any]:
    """Run all layers, with arguments laid out as `torch.nn.LSTM` takes them."""
    return flax_layers.rnn(flax_nnx.layer(_cell), x, h0, kept, config, lengths)
