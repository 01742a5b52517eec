"""Flax: `nnx.RNN` and `nnx.Bidirectional` over `nnx.SimpleCell`.

It has one bias, which is given the sum of both; kernels are (in, out).
"""

from functools import partial
from typing import Any

import jax
from flax import nnx

from recurrences.peers import flax_layers, flax_nnx

Array = jax.Array
Kept = tuple[Array, Array, Array]  # kernels [I, H], [H, H] and bias [H], as the module has them

framework = "jax"
dtypes = ("float64", "float32", "float16", "bfloat16")
supports = flax_layers.SUPPORTS
prepare = flax_nnx.prepare


def _cell(kept: Kept, nonlinearity: str) -> nnx.SimpleCell:
    from_x, from_h, bias = kept
    module = nnx.SimpleCell(
        in_features=from_x.shape[0],
        hidden_features=from_x.shape[1],
        activation_fn={"tanh": nnx.tanh, "relu": nnx.relu}[nonlinearity],
        dtype=from_x.dtype,
        param_dtype=from_x.dtype,
        rngs=nnx.Rngs(0),
    )
    module.dense_i.kernel = nnx.Param(from_x)
    module.dense_i.bias = nnx.Param(bias)
    module.dense_h.kernel = nnx.Param(from_h)
    return module


def rnn(
    x: Array, h0: Array | None, kept: list[Kept], config: Any, lengths: Array | None
) -> tuple[Array, Any]:
    """Run all layers, with arguments laid out as `torch.nn.RNN` takes them."""
    layer = flax_nnx.layer(partial(_cell, nonlinearity=config.nonlinearity))
    return flax_layers.rnn(layer, x, h0, kept, config, lengths)
