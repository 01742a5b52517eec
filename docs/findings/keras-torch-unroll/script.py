"""Keras on PyTorch: unroll, go_backwards and a mask, each alone and together."""

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch  # noqa: F401  (the backend)

x, mask = np.ones((2, 5, 3), "f4"), np.arange(5) < np.array([[5], [3]])
raised = 0
for unroll in (False, True):
    for go_backwards in (False, True):
        for given in (None, mask):
            layer = keras.layers.SimpleRNN(4, unroll=unroll, go_backwards=go_backwards)
            try:
                layer(x, mask=given)
                told = "runs"
            except Exception as error:
                told = f"raises {type(error).__name__}: {str(error)[:90]!r}"
                raised += 1
            print(f"unroll={unroll} go_backwards={go_backwards} mask={given is not None}: {told}")
print("present" if raised else "fixed")
