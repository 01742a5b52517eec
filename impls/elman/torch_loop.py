"""The recurrence in PyTorch: a Python loop over time.

    h_t = tanh(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh)

Source of the formula: the documentation of `torch.nn.RNN`. The input products of all time steps
are one matrix product. Each step then turns its slice of it into h_t in place, so that nothing is
allocated inside the loop; only where autograd records, every h_t is an array of its own, because
the backward pass needs what would be overwritten.
"""

from collections.abc import Callable

import torch

Array = torch.Tensor
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]

framework = "torch"
dtypes = ("float64", "float32", "float16", "bfloat16")

# Multiply-adds per step from which oneDNN's product of float32 matrices on the CPU, up to twice as
# fast as the one that PyTorch calls by itself, is worth its 15 microseconds per call.
ONEDNN_FROM = 2**21


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
    B, H = h0.shape
    bias, h = bias_ih + bias_hh, h0

    if torch.is_grad_enabled() and any(a.requires_grad for a in (x, h0, *cell)):
        activate, transposed, steps = _ACTIVATE[nonlinearity], weight_hh.T, []
        for projected_t in torch.nn.functional.linear(x, weight_ih, bias).unbind():
            h = activate(torch.addmm(projected_t, h, transposed))
            steps.append(h)
        return torch.stack(steps), h

    if B * H * H >= ONEDNN_FROM and _has_onednn(x):
        output = _linear(x, _packed(weight_ih), bias)
        activate_, packed = _ACTIVATE_LARGE[nonlinearity], _packed(weight_hh)
        with torch.inference_mode():
            for h_t in output.unbind():  # a view: what is written to it is written to the output
                h = activate_(h_t.add_(_linear(h, packed, None)))
        return output, h.clone()

    output = torch.nn.functional.linear(x, weight_ih, bias)
    activate_ = _ACTIVATE_INPLACE[nonlinearity]
    with torch.inference_mode():  # saves a third of what a call costs besides its work
        if B == 1:
            h = h0[0]
            for h_t in output[:, 0].unbind():
                h = activate_(h_t.addmv_(weight_hh, h))
            h = h[None]
        else:
            transposed = weight_hh.T
            for h_t in output.unbind():
                h = activate_(h_t.addmm_(h, transposed))
    return output, h.clone()


def _tanh_by_expm1(a: Array) -> Array:
    """tanh(a) = (e^{2a} - 1) / (e^{2a} - 1 + 2) in place: PyTorch's own takes twice as long.

    Past the bound the quotient is 1 in every dtype; without it, it would be infinity by infinity.
    """
    a.mul_(2).clamp_max_(40).expm1_()
    return a.div_(a + 2)


def _has_onednn(x: Array) -> bool:
    return (
        x.dtype == torch.float32
        and x.device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _packed(weight: Array) -> Array:
    packed: Array = torch.ops.mkldnn._reorder_linear_weight(weight)
    return packed


def _linear(x: Array, packed: Array, bias: Array | None) -> Array:
    product: Array = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    return product


_ACTIVATE: dict[str, Callable[[Array], Array]] = {"tanh": torch.tanh, "relu": torch.relu}
_ACTIVATE_INPLACE: dict[str, Callable[[Array], Array]] = {"tanh": torch.tanh_, "relu": torch.relu_}
_ACTIVATE_LARGE = _ACTIVATE_INPLACE | {"tanh": _tanh_by_expm1}
