"""Haiku's recurrent cores with the weights of torch's: what its pages share.

`hk.DeepRNN` has the layers and `hk.dynamic_unroll` the steps, time-major or batch-major; there is
no second direction and no length. A `VanillaRNN` is relu's and has torch's two biases; an `LSTM` is
one `Linear` of (x, h), gates i g f o, to whose forget gate it adds 1, which is taken from the bias.
`initial_state` takes no dtype and gives JAX's default, which x64 changes: it is cast, as
`hk.ResetCore` casts it.
"""

from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

Array = jax.Array

SUPPORTS = ("layers", "batch_first", "without_h0")
_CORES = {"rnn": hk.VanillaRNN, "lstm": hk.LSTM}


def _run(x: Array, states: Any, config: Any) -> Any:
    core = hk.DeepRNN([_CORES[config.kind](config.hidden_size) for _ in range(config.num_layers)])
    if states is None:
        states = core.initial_state(x.shape[0 if config.batch_first else 1])
        states = jax.tree.map(lambda state: state.astype(x.dtype), states)
    return hk.dynamic_unroll(core, x, states, time_major=not config.batch_first)


_transformed = hk.without_apply_rng(hk.transform(_run))


def prepare(weights: dict[str, Array], config: Any) -> Any:
    """Return the parameters as Haiku names them.

    Args:
        weights: torch's parameter names to arrays.
        config: has the arguments of `torch.nn.RNN` as attributes.
    """
    kept = {}
    for k in range(config.num_layers):
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weight_ih, weight_hh, bias_ih, bias_hh = (weights[f"{name}_l{k}"] for name in names)
        number = f"_{k}" if k else ""
        if config.kind == "rnn":
            kept[f"vanilla_rnn{number}/linear"] = {"w": weight_ih.T, "b": bias_ih}
            kept[f"vanilla_rnn{number}/linear_1"] = {"w": weight_hh.T, "b": bias_hh}
        else:
            i, f, g, o = jnp.split(bias_ih + bias_hh, 4)
            w = [jnp.split(weight, 4) for weight in (weight_ih, weight_hh)]
            rows = [jnp.concatenate([of[gate] for gate in (0, 2, 1, 3)]).T for of in w]
            bias = jnp.concatenate((i, g, f - 1, o))
            kept[f"lstm{number}/linear"] = {"w": jnp.concatenate(rows), "b": bias}
    return kept


def rnn(x: Array, h0: Any, kept: Any, config: Any, lengths: None) -> tuple[Array, Any]:
    """Run all layers.

    Args:
        x: input, `[T, B, I]`, or `[B, T, I]` with `config.batch_first`.
        h0: initial hidden states `[L, B, H]`, an LSTM's (h0, c0), or None for zeros.
        kept: what `prepare` returned.
        config: has the arguments of `torch.nn.RNN` as attributes.
        lengths: None: it has none.

    Returns:
        The output, laid out as x with H features, and h_n, an LSTM's (h_n, c_n), as h0.
    """
    states: Any = None
    if h0 is not None:
        lstm = config.kind == "lstm"
        states = tuple(hk.LSTMState(*pair) for pair in zip(*h0, strict=True)) if lstm else tuple(h0)
    output, last = _transformed.apply(kept, x, states, config)
    if config.kind == "lstm":
        h_n, c_n = (jnp.stack(rows) for rows in zip(*last, strict=True))
        return output, (h_n, c_n)
    return output, jnp.stack(last)
