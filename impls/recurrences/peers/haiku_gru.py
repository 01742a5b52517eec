"""Haiku: `hk.GRU`, which is another layer than torch's, and refuses every case.

Its reset gate multiplies h before the recurrent product, a = tanh(W x + W' (r * h) + b); torch's
multiplies the product. No weights of the one make the other.
"""

from typing import Any

import haiku as hk
import jax

Array = jax.Array

kind = "gru"
framework = "jax"
dtypes = ("float64", "float32", "float16", "bfloat16")
supports = ()


def rnn(
    x: Array, h0: Array, weights: dict[str, Array], config: Any, lengths: None
) -> tuple[Array, Array]:
    """Refuse, with the reason."""
    raise NotImplementedError(f"{hk.GRU.__name__}'s reset gate comes before the recurrent product")
