"""Flax: `linen.RNN` over `linen.GRUCell`.

Its products are modules of their own, named ir for that of x in gate r, and so on. Gates r and z
have one bias, which is given the sum of both; n has two, as torch's. (`nnx.GRUCell` lacks the
recurrent one: docs/findings.md.) It is batch-major unless told otherwise.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen

Array = jax.Array
Cell = tuple[Array, Array, Array, Array]  # weight_ih [3H, I], weight_hh [3H, H], biases [3H]
Kept = dict[str, dict[str, Array]]  # a kernel [I, H] or [H, H], and a bias [H], of each module

kind = "gru"
framework = "jax"
dtypes = ("float64", "float32", "float16", "bfloat16")


def prepare(cell: Cell) -> Kept:
    """Return the parameters as the module names them.

    Args:
        cell: `(weight_ih [3H, I], weight_hh [3H, H], bias_ih [3H], bias_hh [3H])`, rows r z n.
    """
    from_x, from_h, bias_ih, bias_hh = (jnp.split(parameter, 3) for parameter in cell)
    kept = {}
    for k, gate in enumerate("rzn"):
        bias = bias_ih[k] if gate == "n" else bias_ih[k] + bias_hh[k]
        kept[f"i{gate}"] = {"kernel": from_x[k].T, "bias": bias}
        kept[f"h{gate}"] = {"kernel": from_h[k].T}
    kept["hn"]["bias"] = bias_hh[2]
    return kept


def layer(x: Array, h0: Array, cell: Kept) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        cell: what `prepare` returned.

    Returns:
        The output `[T, B, H]` and h_n `[B, H]`.
    """
    module = linen.GRUCell(h0.shape[1], dtype=x.dtype, param_dtype=x.dtype)
    rnn = linen.RNN(module, time_major=True, return_carry=True)
    result: Any = rnn.apply({"params": {"cell": cell}}, x, initial_carry=h0)
    h_n, output = result
    return output, h_n
