"""Flax's `nnx` layers around cells with one bias: what the pages of the RNN and the LSTM share."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from recurrences.peers.flax_layers import Layer, suffixes

Array = jax.Array


def prepare(weights: dict[str, Array], config: Any) -> list[tuple[Array, Array, Array]]:
    """Return what the cells keep: kernels `[I, G * H]` and `[H, G * H]`, and one bias `[G * H]`.

    Args:
        weights: torch's parameter names to arrays.
        config: has the arguments of `torch.nn.RNN` as attributes.
    """
    return [
        (
            weights[f"weight_ih_{end}"].T,
            weights[f"weight_hh_{end}"].T,
            weights[f"bias_ih_{end}"] + weights[f"bias_hh_{end}"],
        )
        for end in suffixes(config)
    ]


def layer(cell: Callable[[Any], Any]) -> Layer:
    """Return what runs one layer, given what makes a cell of what is kept of it."""

    def run(kept: list[Any], x: Array, before: Any, **arguments: Any) -> tuple[Any, Array]:
        runs = [nnx.RNN(cell(one)) for one in kept]
        whole: Any = nnx.Bidirectional(*runs) if len(runs) == 2 else runs[0]
        carry, output = whole(x, initial_carry=before, return_carry=True, **arguments)
        return carry, output

    return run
