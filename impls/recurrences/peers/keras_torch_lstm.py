"""Keras: `LSTM`, on its PyTorch backend."""

from recurrences.peers import keras_layers

kind = "lstm"
framework = "torch"
dtypes = ("float32", "float16", "bfloat16")  # its matmul makes float32 of float64
supports = keras_layers.SUPPORTS
process = "own"

_keras = keras_layers.on("torch")
prepare, rnn = _keras.prepare, _keras.rnn
