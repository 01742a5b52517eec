"""A loop over `torch.nn.LSTMCell`: what PyTorch offers for one step at a time."""

import torch

Array = torch.Tensor
Cell = tuple[Array, Array, Array, Array]  # weight_ih [4H, I], weight_hh [4H, H], biases [4H]

kind = "lstm"
framework = "torch"
dtypes = ("float64", "float32", "float16", "bfloat16")


def prepare(cell: Cell) -> torch.nn.LSTMCell:
    """Build the module around the given tensors; they are shared, not copied."""
    I, H = cell[0].shape[1], cell[1].shape[1]
    module = torch.nn.LSTMCell(I, H, device="meta")
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    module.load_state_dict(dict(zip(names, cell, strict=True)), assign=True)
    return module


def layer(x: Array, h0: Array, c0: Array, module: torch.nn.LSTMCell) -> tuple[Array, Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        c0: initial cell state, `[B, H]`.
        module: what `prepare` returned.

    Returns:
        The output `[T, B, H]`, and c of every step, `[T, B, H]`, between them h_n `[B, H]`.
    """
    h, c, steps = h0, c0, []
    for x_t in x.unbind():
        h, c = module(x_t, (h, c))
        steps.append((h, c))
    output, cells = (torch.stack(states) for states in zip(*steps, strict=True))
    return output, h, cells
