"""Keras: `GRU` with `reset_after=True`, on its PyTorch backend."""

from recurrences.peers import keras_layers

kind = "gru"
framework = "torch"
dtypes = ("float64", "float32", "float16", "bfloat16")
supports = keras_layers.SUPPORTS

_keras = keras_layers.on("torch")
prepare, rnn = _keras.prepare, _keras.rnn
