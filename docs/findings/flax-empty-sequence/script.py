"""Flax: the carry of a sequence of length 0 is that after all of its padding."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

x = jnp.full((2, 3, 5), 9.0)
h0 = jnp.full((2, 4), 0.5)
rnn = nnx.RNN(nnx.SimpleCell(5, 4, rngs=nnx.Rngs(0)), return_carry=True)
carry, _ = rnn(x, initial_carry=h0, seq_lengths=jnp.array([3, 0]))
print(carry[1], "in place of", h0[1])
print("fixed" if np.all(carry[1] == h0[1]) else "present")
