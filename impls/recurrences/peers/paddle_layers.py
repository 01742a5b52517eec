"""PaddlePaddle's recurrent layers with the weights of torch's: what its pages share.

`SimpleRNN`, `GRU` and `LSTM` have torch's names of parameters, order of gates and two biases, and
run layers, directions and `sequence_length` by themselves.
"""

from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray

Array = NDArray[Any]

# All of it but a sequence `[T, I]` without a batch.
SUPPORTS = ("layers", "bidirectional", "lengths", "batch_first", "without_h0", "without_bias")


def prepare(weights: dict[str, Array], config: Any) -> paddle.nn.Layer:
    """Build the layer, with the weights in it.

    Args:
        weights: torch's parameter names to arrays.
        config: has the arguments of `torch.nn.RNN` as attributes.
    """
    name = {"rnn": "SimpleRNN", "gru": "GRU", "lstm": "LSTM"}[config.kind]
    options: dict[str, Any] = {"activation": config.nonlinearity} if config.kind == "rnn" else {}
    if not config.bias:
        options |= {"bias_ih_attr": False, "bias_hh_attr": False}
    before = paddle.get_default_dtype()
    paddle.set_default_dtype(weights["weight_ih_l0"].dtype.name)
    try:
        layer = getattr(paddle.nn, name)(
            config.input_size,
            config.hidden_size,
            config.num_layers,
            direction="bidirect" if config.bidirectional else "forward",
            time_major=not config.batch_first,
            **options,
        )
    finally:
        paddle.set_default_dtype(before)
    for name, value in weights.items():
        getattr(layer, name).set_value(np.ascontiguousarray(value))
    layer.eval()
    return layer


def rnn(
    x: Array, h0: Any, layer: paddle.nn.Layer, config: Any, lengths: Array | None
) -> tuple[Array, Any]:
    """Run all layers.

    Args:
        x: input, `[T, B, I]`, or `[B, T, I]` with `config.batch_first`.
        h0: initial hidden states `[L * D, B, H]`, an LSTM's (h0, c0), or None for zeros.
        layer: what `prepare` returned.
        config: has the arguments of `torch.nn.RNN` as attributes.
        lengths: how many steps of each sequence count, `[B]`, integers; None for all.

    Returns:
        The output, laid out as x with `D * H` features, and h_n, an LSTM's (h_n, c_n), as h0.
    """
    states = None
    if h0 is not None:
        states = tuple(map(_tensor, h0)) if config.kind == "lstm" else _tensor(h0)
    with paddle.no_grad():
        output, last = layer(_tensor(x), states, None if lengths is None else _tensor(lengths))
    if config.kind == "lstm":
        return output.numpy(), (last[0].numpy(), last[1].numpy())
    return output.numpy(), last.numpy()


def _tensor(array: Array) -> Any:
    return paddle.to_tensor(np.ascontiguousarray(array), place=paddle.CPUPlace())
