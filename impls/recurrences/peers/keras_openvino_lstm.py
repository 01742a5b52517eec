"""Keras: `LSTM`, on its OpenVINO backend."""

from recurrences.peers import keras_layers

kind = "lstm"
framework = "numpy"
dtypes = ("float64", "float32", "float16", "bfloat16")
supports = keras_layers.SUPPORTS

_keras = keras_layers.on("openvino")
prepare, rnn = _keras.prepare, _keras.in_numpy
