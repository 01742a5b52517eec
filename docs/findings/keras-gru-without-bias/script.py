"""Keras on JAX: a GRU without biases raises in any dtype but JAX's default."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np

x = np.ones((2, 3, 5), np.float32)
try:
    keras.layers.GRU(4, use_bias=False, dtype="bfloat16", recurrent_initializer="zeros")(x)
    print("fixed")
except (TypeError, ValueError) as error:
    print(" ".join(str(error).split())[:160])
    print("present")
