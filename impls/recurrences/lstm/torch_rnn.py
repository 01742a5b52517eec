"""`torch.nn.LSTM` itself, called whole: the source of the weights, judged like all the others.

It runs layers, directions, unbatched input and sequences of unequal length by itself (on a GPU
through cuDNN), which makes it a witness of how the harness composes them around `layer`.
"""

from typing import Any

import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

Array = torch.Tensor
States = tuple[Array, Array]  # of h and of c

kind = "lstm"
framework = "torch"
dtypes = ("float64", "float32", "float16", "bfloat16")


def prepare(weights: dict[str, Array], config: Any) -> torch.nn.LSTM:
    """Build the module around the given tensors, once per set of weights.

    Args:
        weights: torch's parameter names (`weight_ih_l0`, ...) to tensors; shared, not copied.
        config: has the arguments of `torch.nn.LSTM` as attributes.

    Returns:
        The module. Dropout between layers is inert, as in evaluation mode: it is left out rather
        than switched off, because cuDNN differentiates only in training mode.
    """
    module = torch.nn.LSTM(
        config.input_size,
        config.hidden_size,
        config.num_layers,
        bias=config.bias,
        batch_first=config.batch_first,
        bidirectional=config.bidirectional,
        device="meta",
    )
    module.load_state_dict(weights, assign=True)
    module.flatten_parameters()
    return module


def rnn(
    x: Array, h0: States | None, module: torch.nn.LSTM, config: Any, lengths: Array | None
) -> tuple[Array, States]:
    """Run the whole stack, with arguments laid out as `torch.nn.LSTM` takes them.

    Args:
        x: input, `[T, B, I]`, or `[B, T, I]` with `config.batch_first`, or `[T, I]`.
        h0: initial hidden and cell states, each `[L * D, B, H]` (`[L * D, H]` for unbatched x), or
            None for zeros.
        module: what `prepare` returned.
        config: the arguments of `torch.nn.LSTM`.
        lengths: how many steps of each sequence count, `[B]`, integers; None for all.

    Returns:
        The output `[T, B, D * H]` (laid out as x), zero past each sequence's end, and the pair of
        h_n and c_n, shaped as h0, each sequence's states after its own last step.
    """
    if h0 is not None:
        h0 = h0[0].contiguous(), h0[1].contiguous()  # cuDNN takes no other
    if lengths is None:
        output, h_n = module(x, h0)
        return output, h_n
    batch_first = config.batch_first
    total = x.shape[1 if batch_first else 0]
    packed = pack_padded_sequence(x, lengths.cpu(), batch_first, enforce_sorted=False)
    packed_output, h_n = module(packed, h0)
    output, _ = pad_packed_sequence(packed_output, batch_first, total_length=total)
    return output, h_n
