"""Keras: `LSTM`, on its JAX backend.

Its gates are in torch's order (i f c o); it has one bias, which is given the sum of both; kernels
are (in, 4 units); it is batch-major.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # read when Keras is imported

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import keras

Array = jax.Array
Cell = tuple[Array, Array, Array, Array]  # weight_ih [4H, I], weight_hh [4H, H], biases [4H]
Kept = tuple[Array, Array, Array]  # kernels [I, 4H], [H, 4H], bias [4H], as the module has them

kind = "lstm"
framework = "jax"
dtypes = ("float32", "float16", "bfloat16")  # its tanh makes float32 of float64

if keras.backend.backend() != "jax":
    raise ImportError(f"Keras runs on {keras.backend.backend()}: set KERAS_BACKEND=jax")


@lru_cache
def _module(input_size: int, hidden_size: int, dtype: str) -> Any:
    module = keras.layers.LSTM(
        hidden_size,
        recurrent_initializer="zeros",  # the default needs a QR decomposition, in any dtype
        return_sequences=True,
        return_state=True,
        dtype=dtype,
    )
    with jax.ensure_compile_time_eval():  # its own weights, not part of what is traced
        module.build((None, None, input_size))
    return module


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
    module = _module(x.shape[2], h0.shape[1], x.dtype.name)
    (output, h_n, c_n), _ = module.stateless_call(
        list(cell),
        [v.value for v in module.non_trainable_variables],
        jnp.swapaxes(x, 0, 1),
        initial_state=[h0, c0],
    )
    return jnp.swapaxes(output, 0, 1), h_n, c_n
