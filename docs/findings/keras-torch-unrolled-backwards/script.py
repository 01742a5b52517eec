"""Keras on PyTorch: an unrolled layer that goes backwards raises where it gets a mask."""

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np

x = np.ones((2, 3, 5), np.float32)
mask = np.array([[1, 1, 0], [1, 1, 1]], bool)
try:
    keras.layers.SimpleRNN(4, unroll=True, go_backwards=True)(x, mask=mask)
    print("fixed")
except AttributeError as error:
    print("present:", " ".join(str(error).split())[:160])
