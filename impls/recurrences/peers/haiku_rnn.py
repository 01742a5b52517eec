"""Haiku: `hk.VanillaRNN`, whose nonlinearity is relu and can be no other."""

from recurrences.peers import haiku_layers

framework = "jax"
dtypes = ("float64", "float32", "float16", "bfloat16")
nonlinearities = ("relu",)
supports = haiku_layers.SUPPORTS

prepare, rnn = haiku_layers.prepare, haiku_layers.rnn
