"""Keras: `GRU` with `reset_after=True`, on its TensorFlow backend."""

from recurrences.peers import keras_layers

kind = "gru"
framework = "numpy"
dtypes = ("float64", "float32", "float16", "bfloat16")
supports = keras_layers.SUPPORTS
process = "own"

_keras = keras_layers.on("tensorflow")
prepare, rnn = _keras.prepare, _keras.in_numpy
