"""MLX's recurrent layers with the weights of torch's: what its pages share.

One layer in one direction, batch-major or without a batch, that returns the states of all steps. A
layer without biases has none; an `RNN` and an `LSTM` have one, which is given the sum of both, and
a `GRU` has b of the gates (of n the input's alone) and bhn. Gates are in torch's order. MLX makes
float32 of NumPy's float64 unless it is told the dtype, and NumPy cannot read its bfloat16.
"""

from typing import Any

import mlx.core as mx
import mlx.nn
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SUPPORTS = ("batch_first", "unbatched", "without_h0", "without_bias")


def prepare(weights: dict[str, Array], config: Any) -> Any:
    """Build the layer, with the weights in it.

    Args:
        weights: torch's parameter names to arrays.
        config: has the arguments of `torch.nn.RNN` as attributes.
    """
    mx.set_default_device(mx.cpu)
    given = {name.removesuffix("_l0"): _array(value) for name, value in weights.items()}
    I, H = config.input_size, config.hidden_size
    options: dict[str, Any] = {"bias": config.bias}
    if config.kind == "rnn":
        options["nonlinearity"] = {"tanh": mx.tanh, "relu": mlx.nn.relu}[config.nonlinearity]
    layer = getattr(mlx.nn, config.kind.upper())(I, H, **options)
    named = ("Wxh", "Whh") if config.kind == "rnn" else ("Wx", "Wh")
    own = dict(zip(named, (given["weight_ih"], given["weight_hh"]), strict=True))
    if config.bias and config.kind == "gru":
        gates, candidate = mx.split(given["bias_hh"], [2 * H])
        own["b"] = given["bias_ih"] + mx.concatenate([gates, mx.zeros_like(candidate)])
        own["bhn"] = candidate
    elif config.bias:
        own["bias"] = given["bias_ih"] + given["bias_hh"]
    layer.update(own)
    return layer


def rnn(x: Array, h0: Any, layer: Any, config: Any, lengths: None) -> tuple[Array, Any]:
    """Run the layer.

    Args:
        x: input, `[T, B, I]`, or `[B, T, I]` with `config.batch_first`, or `[T, I]`.
        h0: initial hidden state `[1, B, H]`, an LSTM's (h0, c0), or None.
        layer: what `prepare` returned.
        config: has the arguments of `torch.nn.RNN` as attributes.
        lengths: None: it has none.

    Returns:
        The output, laid out as x with H features, and h_n, an LSTM's (h_n, c_n), as h0.
    """
    time_major = x.ndim == 3 and not config.batch_first
    states = () if h0 is None else h0 if config.kind == "lstm" else (h0,)
    given = _array(np.swapaxes(x, 0, 1) if time_major else x)
    found = layer(given, *(_array(state[0]) for state in states))
    every = [_in_numpy(a, x.dtype) for a in (found if config.kind == "lstm" else (found,))]
    last = [a[..., -1, :][None] for a in every]
    output = np.swapaxes(every[0], 0, 1) if time_major else every[0]
    return output, tuple(last) if config.kind == "lstm" else last[0]


def _array(array: Array) -> mx.array:
    return mx.array(array, dtype=getattr(mx, array.dtype.name))


def _in_numpy(array: mx.array, dtype: Any) -> Array:
    if array.dtype == mx.bfloat16:
        array = array.astype(mx.float32)
        return np.array(array).astype(dtype)
    return np.array(array)
