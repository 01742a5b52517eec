"""Keras: `LSTM`, on its OpenVINO backend."""

from recurrences.peers import keras_layers

kind = "lstm"
framework = "numpy"
dtypes = ("float32", "float16", "bfloat16")  # its sum makes float32 of float64
supports = keras_layers.SUPPORTS
process = "own"

_keras = keras_layers.on("openvino")
prepare, rnn = _keras.prepare, _keras.in_numpy
