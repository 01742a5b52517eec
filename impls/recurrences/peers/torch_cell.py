"""A loop over `torch.nn.RNNCell`: what PyTorch offers for one step at a time."""

import torch

Array = torch.Tensor
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]

framework = "torch"
dtypes = ("float64", "float32", "float16", "bfloat16")


def prepare(cell: Cell, nonlinearity: str) -> torch.nn.RNNCell:
    """Build the module around the given tensors; they are shared, not copied."""
    H, I = cell[0].shape
    module = torch.nn.RNNCell(I, H, nonlinearity=nonlinearity, device="meta")
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    module.load_state_dict(dict(zip(names, cell, strict=True)), assign=True)
    return module


def layer(x: Array, h0: Array, module: torch.nn.RNNCell, nonlinearity: str) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        module: what `prepare` returned.
        nonlinearity: as given to `prepare`.

    Returns:
        The output `[T, B, H]` and h_n `[B, H]`.
    """
    h, steps = h0, []
    for x_t in x.unbind():
        h = module(x_t, h)
        steps.append(h)
    return torch.stack(steps), h
