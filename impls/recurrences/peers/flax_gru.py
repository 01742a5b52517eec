"""Flax: `linen.RNN` and `linen.Bidirectional` over `linen.GRUCell`.

Its products are modules of their own, named ir for that of x in gate r, and so on. Gates r and z
have one bias, which is given the sum of both; n has two, as torch's. (`nnx.GRUCell` lacks the
recurrent one: docs/findings.md.)
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen

from recurrences.peers import flax_layers

Array = jax.Array
Kept = dict[str, dict[str, Array]]  # a kernel [I, H] or [H, H], and a bias [H], of each module

kind = "gru"
framework = "jax"
dtypes = ("float64", "float32", "float16", "bfloat16")
supports = flax_layers.SUPPORTS


def prepare(weights: dict[str, Array], config: Any) -> list[Kept]:
    """Return the parameters as the modules name them.

    Args:
        weights: torch's parameter names to arrays.
        config: has the arguments of `torch.nn.GRU` as attributes.
    """
    return [_of_cell(weights, end) for end in flax_layers.suffixes(config)]


def _of_cell(weights: dict[str, Array], end: str) -> Kept:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    from_x, from_h, bias_ih, bias_hh = (jnp.split(weights[f"{name}_{end}"], 3) for name in names)
    kept = {}
    for k, gate in enumerate("rzn"):
        bias = bias_ih[k] if gate == "n" else bias_ih[k] + bias_hh[k]
        kept[f"i{gate}"] = {"kernel": from_x[k].T, "bias": bias}
        kept[f"h{gate}"] = {"kernel": from_h[k].T}
    kept["hn"]["bias"] = bias_hh[2]
    return kept


def _layer(kept: list[Kept], x: Array, before: Any, **arguments: Any) -> tuple[Any, Array]:
    H = kept[0]["hn"]["bias"].shape[0]
    cells = [linen.GRUCell(H, dtype=x.dtype, param_dtype=x.dtype) for _ in kept]
    if len(cells) == 1:
        whole: Any = linen.RNN(cells[0])
        params: Any = {"cell": kept[0]}
    else:
        whole = linen.Bidirectional(linen.RNN(cells[0]), linen.RNN(cells[1]))
        params = {"forward_rnn": {"cell": kept[0]}, "backward_rnn": {"cell": kept[1]}}
    carry, output = whole.apply(
        {"params": params}, x, initial_carry=before, return_carry=True, **arguments
    )
    return carry, output


def rnn(
    x: Array, h0: Array | None, kept: list[Kept], config: Any, lengths: Array | None
) -> tuple[Array, Any]:
    """Run all layers, with arguments laid out as `torch.nn.GRU` takes them."""
    return flax_layers.rnn(_layer, x, h0, kept, config, lengths)
