"""Keras on JAX: masked outputs depend on `unroll`.

With `zero_output_for_mask=True` an unrolled layer repeats the last output in place of zeros.
Without it, a step masked before any other gives the initial state, and unrolled (and on TensorFlow,
PyTorch and OpenVINO) zeros.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np

x = np.ones((1, 3, 5), np.float32)
h0 = np.full((1, 4), 0.5, np.float32)


def last(mask, **options):
    """Return the output of the last step."""
    keras.utils.set_random_seed(0)
    layer = keras.layers.SimpleRNN(4, **options)
    return np.asarray(layer(x, mask=np.array([mask], bool), initial_state=h0))


zeros = last([1, 1, 0], unroll=True, zero_output_for_mask=True)
loop, unrolled = (last([0, 0, 0], unroll=unroll) for unroll in (False, True))
wrong = [] if not zeros.any() else ["zero_output_for_mask is not looked at if unrolled"]
wrong += (
    [] if (loop == unrolled).all() else [f"masked: {loop[0, 0]} or, unrolled, {unrolled[0, 0]}"]
)
print("; ".join(wrong))
print("present" if wrong else "fixed")
