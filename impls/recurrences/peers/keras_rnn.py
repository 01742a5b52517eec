"""Keras: `SimpleRNN`, on its JAX backend."""

from recurrences.peers import keras_layers

framework = "jax"
dtypes = ("float32", "float16", "bfloat16")  # its tanh makes float32 of float64
supports = keras_layers.SUPPORTS

_keras = keras_layers.on("jax")
prepare, rnn = _keras.prepare, _keras.rnn
