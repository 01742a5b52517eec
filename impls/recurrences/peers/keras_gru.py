"""Keras: `GRU` with `reset_after=True`, on its JAX backend.

Its gates are in the order z r h; kernels are (in, 3 units), biases one array (2, 3 units); it is
batch-major.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # read when Keras is imported

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import keras

Array = jax.Array
Cell = tuple[Array, Array, Array, Array]  # weight_ih [3H, I], weight_hh [3H, H], biases [3H]
Kept = tuple[Array, Array, Array]  # kernels [I, 3H], [H, 3H], biases [2, 3H], as the module has

kind = "gru"
framework = "jax"
dtypes = ("float32", "float16", "bfloat16")  # its tanh makes float32 of float64

if keras.backend.backend() != "jax":
    raise ImportError(f"Keras runs on {keras.backend.backend()}: set KERAS_BACKEND=jax")


@lru_cache
def _module(input_size: int, hidden_size: int, dtype: str) -> Any:
    module = keras.layers.GRU(
        hidden_size,
        reset_after=True,
        recurrent_initializer="zeros",  # the default needs a QR decomposition, in any dtype
        return_sequences=True,
        return_state=True,
        dtype=dtype,
    )
    with jax.ensure_compile_time_eval():  # its own weights, not part of what is traced
        module.build((None, None, input_size))
    return module


def prepare(cell: Cell) -> Kept:
    """Return what the module keeps: kernels `[I, 3H]` and `[H, 3H]`, and biases `[2, 3H]`.

    Args:
        cell: `(weight_ih [3H, I], weight_hh [3H, H], bias_ih [3H], bias_hh [3H])`, rows r z n.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = (_zrh(parameter) for parameter in cell)
    return weight_ih.T, weight_hh.T, jnp.stack((bias_ih, bias_hh))


def _zrh(parameter: Array) -> Array:
    r, z, n = jnp.split(parameter, 3)
    return jnp.concatenate((z, r, n))


def layer(x: Array, h0: Array, cell: Kept) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        cell: what `prepare` returned.

    Returns:
        The output `[T, B, H]` and h_n `[B, H]`.
    """
    module = _module(x.shape[2], h0.shape[1], x.dtype.name)
    (output, h_n), _ = module.stateless_call(
        list(cell),
        [v.value for v in module.non_trainable_variables],
        jnp.swapaxes(x, 0, 1),
        initial_state=h0,
    )
    return jnp.swapaxes(output, 0, 1), h_n
