"""The recurrence in PyTorch: a Python loop over time.

    h_t = tanh(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh)

Source of the formula: the documentation of `torch.nn.RNN`. The input products of all time steps
are one matrix product. Each step then turns its slice of it into h_t in place, so that nothing is
allocated inside the loop; only where autograd records, every h_t is an array of its own, because
the backward pass needs what would be overwritten.
"""

import torch

Array = torch.Tensor
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]

framework = "torch"
dtypes = ("float64", "float32", "float16", "bfloat16")


def layer(x: Array, h0: Array, cell: Cell, nonlinearity: str) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        cell: `(weight_ih [H, I], weight_hh [H, H], bias_ih [H], bias_hh [H])`.
        nonlinearity: "tanh" or "relu".

    Returns:
        The output `[T, B, H]`, which is h_1 to h_T, and h_n `[B, H]`, which is h_T.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = cell
    recorded = torch.is_grad_enabled() and any(a.requires_grad for a in (x, h0, *cell))
    activate = {
        ("tanh", True): torch.tanh,
        ("relu", True): torch.relu,
        ("tanh", False): torch.tanh_,
        ("relu", False): torch.relu_,
    }[nonlinearity, recorded]

    projected = torch.nn.functional.linear(x, weight_ih, bias_ih + bias_hh)

    h, transposed = h0, weight_hh.T
    if recorded:
        steps = []
        for projected_t in projected.unbind():
            h = activate(torch.addmm(projected_t, h, transposed))
            steps.append(h)
        return torch.stack(steps), h

    for h_t in projected.unbind():  # a view: what is written to it is written to the output
        h = activate(h_t.addmm_(h, transposed))
    return projected, h.clone()
