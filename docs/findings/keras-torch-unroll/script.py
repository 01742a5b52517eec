"""Keras on PyTorch: unroll, go_backwards and a mask, each alone and together."""

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch  # noqa: F401  (the backend)

x, mask = np.ones((2, 5, 3), "f4"), np.arange(5) < np.array([[5], [3]])
wrong = []
for unroll in (False, True):
    for go_backwards in (False, True):
        for given in (None, mask):
            layer = keras.layers.SimpleRNN(4, unroll=unroll, go_backwards=go_backwards)
            case = f"unroll={unroll} go_backwards={go_backwards} mask={given is not None}"
            try:
                layer(x, mask=given)
                print(f"{case}: runs")
            except AttributeError as error:
                print(f"{case}: raises AttributeError: {str(error)[:90]!r}")
                wrong.append((unroll, go_backwards, given is not None))
print("present" if wrong == [(True, True, True)] else "fixed")
