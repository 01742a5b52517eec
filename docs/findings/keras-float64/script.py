"""Keras on JAX with x64: what becomes of float64."""

import os

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_ENABLE_X64"] = "1"

import jax.numpy as jnp
import keras
import numpy as np

x = jnp.full((2, 2), 0.3, jnp.float64)
tanh, product = keras.ops.tanh(x), keras.ops.matmul(x, x)
print("tanh", tanh.dtype, "off by", np.abs(np.asarray(tanh, "f8") - np.tanh(0.3)).max())
print("matmul", product.dtype)
layer = keras.layers.GRU(3, dtype="float64")
print("GRU", layer(np.ones((1, 4, 2))).dtype)
print("present" if tanh.dtype != jnp.float64 else "fixed")
