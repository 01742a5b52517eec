"""Flax's `RNN` and `Bidirectional` around given cells: what its pages share.

A layer after another is called, time-major or batch-major as the input is, with `seq_lengths`. What
they return past a sequence's end is not defined, and is made zero here, as users do. Cells have
biases always, so that none is without.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array
# Given what was kept of a layer's directions, returns its (carries, output) for
# (x, initial carries or None, **further arguments of Flax's call).
Layer = Callable[..., tuple[Any, Array]]

SUPPORTS = ("layers", "bidirectional", "lengths", "batch_first", "unbatched", "without_h0")


def suffixes(config: Any) -> list[str]:
    """Return torch's endings of parameters' names in the order of h0's rows: l0, l0_reverse, ..."""
    ends = ("", "_reverse") if config.bidirectional else ("",)
    return [f"l{k}{end}" for k in range(config.num_layers) for end in ends]


def rnn(
    layer: Layer, x: Array, h0: Any, kept: list[Any], config: Any, lengths: Array | None
) -> tuple[Array, Any]:
    """Run all layers.

    Args:
        layer: runs one in all of its directions.
        x: input, `[T, B, I]`, or `[B, T, I]` with `config.batch_first`, or `[T, I]`.
        h0: initial hidden states `[L * D, B, H]`, an LSTM's (h0, c0), or None for zeros.
        kept: what is kept of each cell.
        config: has the arguments of `torch.nn.RNN` as attributes.
        lengths: how many steps of each sequence count, `[B]`, integers; None for all.

    Returns:
        The output, laid out as x with `D * H` features, and h_n, an LSTM's (h_n, c_n), as h0.
    """
    time_major = x.ndim == 3 and not config.batch_first
    lstm, D = config.kind == "lstm", 2 if config.bidirectional else 1
    output, after = x, []
    for k in range(config.num_layers):
        rows = range(k * D, k * D + D)
        before: Any = None
        if h0 is not None:  # an LSTM's carry is (c, h)
            before = tuple((h0[1][row], h0[0][row]) if lstm else h0[row] for row in rows)
        last, output = layer(
            [kept[row] for row in rows],
            output,
            before if D == 2 or before is None else before[0],
            time_major=time_major,
            seq_lengths=lengths,
        )
        after += list(last) if D == 2 else [last]
    if lengths is not None:
        T = output.shape[0 if time_major else 1]
        inside = jnp.arange(T) < lengths[:, None]
        inside = inside.T if time_major else inside
        output = jnp.where(inside[:, :, None], output, 0)
    if lstm:
        c_n, h_n = (jnp.stack(rows) for rows in zip(*after, strict=True))
        return output, (h_n, c_n)
    return output, jnp.stack(after)
