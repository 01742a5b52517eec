"""The loop in PyTorch with its step under `torch.compile`.

The step is what is compiled, once for all sizes, and not the loop: `torch.compile` unrolls a loop
over time, so that compiling takes longer the longer the sequence is.
"""

import torch

Array = torch.Tensor
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]
Kept = tuple[Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias [H]

framework = "torch"
dtypes = ("float64", "float32")


def _tanh_step(projected_t: Array, h: Array, weight_hh: Array) -> Array:
    return torch.tanh(projected_t + h @ weight_hh.T)


def _relu_step(projected_t: Array, h: Array, weight_hh: Array) -> Array:
    return torch.relu(projected_t + h @ weight_hh.T)


_STEPS = {
    "tanh": torch.compile(_tanh_step, dynamic=True),
    "relu": torch.compile(_relu_step, dynamic=True),
}


def prepare(cell: Cell, nonlinearity: str) -> Kept:
    """Add up the biases, since only their sum matters.

    Args:
        cell: `(weight_ih [H, I], weight_hh [H, H], bias_ih [H], bias_hh [H])`.
        nonlinearity: not needed.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = cell
    return weight_ih, weight_hh, bias_ih + bias_hh


def layer(x: Array, h0: Array, cell: Kept, nonlinearity: str) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        cell: what `prepare` returned.
        nonlinearity: "tanh" or "relu".

    Returns:
        The output `[T, B, H]` and h_n `[B, H]`.
    """
    weight_ih, weight_hh, bias = cell
    step = _STEPS[nonlinearity]
    projected = torch.nn.functional.linear(x, weight_ih, bias)
    h, steps = h0, []
    for projected_t in projected.unbind():
        h = step(projected_t, h, weight_hh)
        steps.append(h)
    return torch.stack(steps), h
