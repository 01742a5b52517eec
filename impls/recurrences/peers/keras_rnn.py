"""Keras: `SimpleRNN`, on its JAX backend.

It has one bias, which is given the sum of both; kernels are (in, units); it is batch-major.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # read when Keras is imported

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import keras

Array = jax.Array
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]
Kept = tuple[Array, Array, Array]  # kernels [I, H], [H, H] and bias [H], as the module has them

framework = "jax"
dtypes = ("float32", "float16", "bfloat16")  # its tanh makes float32 of float64

if keras.backend.backend() != "jax":
    raise ImportError(f"Keras runs on {keras.backend.backend()}: set KERAS_BACKEND=jax")


@lru_cache
def _module(input_size: int, hidden_size: int, nonlinearity: str, dtype: str) -> Any:
    module = keras.layers.SimpleRNN(
        hidden_size,
        activation=nonlinearity,
        recurrent_initializer="zeros",  # the default needs a QR decomposition, in any dtype
        return_sequences=True,
        return_state=True,
        dtype=dtype,
    )
    with jax.ensure_compile_time_eval():  # its own weights, not part of what is traced
        module.build((None, None, input_size))
    return module


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
    module = _module(x.shape[2], h0.shape[1], nonlinearity, x.dtype.name)
    (output, h_n), _ = module.stateless_call(
        [from_x, from_h, bias],
        [v.value for v in module.non_trainable_variables],
        jnp.swapaxes(x, 0, 1),
        initial_state=h0,
    )
    return jnp.swapaxes(output, 0, 1), h_n
