"""Haiku: `hk.LSTM`."""

from recurrences.peers import haiku_layers

kind = "lstm"
framework = "jax"
dtypes = ("float64", "float32", "float16", "bfloat16")
supports = haiku_layers.SUPPORTS

prepare, rnn = haiku_layers.prepare, haiku_layers.rnn
