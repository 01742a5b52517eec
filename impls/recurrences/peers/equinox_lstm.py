"""Equinox: `eqx.nn.LSTMCell` under `jax.lax.scan`, as its documentation shows; it has no layer.

A cell is of one sequence, and `jax.vmap` makes it one of a batch. Gates are in torch's order; it
has one bias, which is given the sum of both.
"""

from typing import Any

import equinox as eqx
import jax

Array = jax.Array

kind = "lstm"
framework = "jax"
dtypes = ("float64", "float32", "float16", "bfloat16")
supports = ("unbatched", "without_bias")


def prepare(weights: dict[str, Array], config: Any) -> eqx.nn.LSTMCell:
    """Return the cell, with the weights in it.

    Args:
        weights: torch's parameter names to arrays.
        config: has the arguments of `torch.nn.LSTM` as attributes.
    """
    I, H = config.input_size, config.hidden_size
    dtype = weights["weight_ih_l0"].dtype
    module = eqx.nn.LSTMCell(I, H, use_bias=config.bias, dtype=dtype, key=jax.random.key(0))
    if not config.bias:
        return eqx.tree_at(
            lambda cell: (cell.weight_ih, cell.weight_hh),
            module,
            (weights["weight_ih_l0"], weights["weight_hh_l0"]),
        )
    bias = weights["bias_ih_l0"] + weights["bias_hh_l0"]
    return eqx.tree_at(
        lambda cell: (cell.weight_ih, cell.weight_hh, cell.bias),
        module,
        (weights["weight_ih_l0"], weights["weight_hh_l0"], bias),
    )


def rnn(
    x: Array, h0: tuple[Array, Array], cell: eqx.nn.LSTMCell, config: Any, lengths: None
) -> tuple[Array, tuple[Array, Array]]:
    """Run the cell over a sequence.

    Args:
        x: input, `[T, B, I]`, or `[T, I]`.
        h0: initial hidden state `[1, B, H]`, or (h0, c0) of such.
        cell: what `prepare` returned.
        config: has the arguments of `torch.nn.LSTM` as attributes.
        lengths: None: it has none.

    Returns:
        The output, laid out as x with H features, and the last state, as h0.
    """
    step = cell if x.ndim == 2 else jax.vmap(cell)

    def body(state: Any, x_t: Array) -> tuple[Any, Array]:
        state = step(x_t, state)
        return state, state[0]

    last, output = jax.lax.scan(body, jax.tree.map(lambda a: a[0], h0), x)
    return output, jax.tree.map(lambda a: a[None], last)
