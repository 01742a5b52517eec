"""A loop over `torch.nn.GRUCell`: what PyTorch offers for one step at a time."""

import torch

Array = torch.Tensor
Cell = tuple[Array, Array, Array, Array]  # weight_ih [3H, I], weight_hh [3H, H], biases [3H]

kind = "gru"
framework = "torch"
dtypes = ("float64", "float32", "float16", "bfloat16")


def prepare(cell: Cell) -> torch.nn.GRUCell:
    """Build the module around the given tensors; they are shared, not copied."""
    I, H = cell[0].shape[1], cell[1].shape[1]
    module = torch.nn.GRUCell(I, H, device="meta")
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    module.load_state_dict(dict(zip(names, cell, strict=True)), assign=True)
    return module


def layer(x: Array, h0: Array, module: torch.nn.GRUCell) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        module: what `prepare` returned.

    Returns:
        The output `[T, B, H]` and h_n `[B, H]`.
    """
    h, steps = h0, []
    for x_t in x.unbind():
        h = module(x_t, h)
        steps.append(h)
    return torch.stack(steps), h
