"""The recurrence in PyTorch: a Python loop over time.

    h_t = tanh(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh)

Source of the formula: the documentation of `torch.nn.RNN`. The input products of all time steps
are one matrix product. Each step then turns its slice of it into h_t in place, so that nothing is
allocated inside the loop; only where autograd records, every h_t is an array of its own, because
the backward pass needs what would be overwritten.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

Array = torch.Tensor
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]

framework = "torch"
dtypes = ("float64", "float32", "float16", "bfloat16")

# Multiply-adds from which oneDNN, whose product of float32 matrices on the CPU is up to twice as
# fast as what PyTorch calls by itself, is worth the 15 microseconds that calling it takes.
ONEDNN_FROM = 2**20

# Steps from which it is worth to leave autograd's bookkeeping, and to see states as vectors.
LONG = 4


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
    (T, B, I), H = x.shape, h0.shape[1]
    bias, h = bias_ih + bias_hh, h0
    linear: Callable[..., Array] = torch.nn.functional.linear

    if torch.is_grad_enabled() and any(a.requires_grad for a in (x, h0, *cell)):
        activate, transposed, steps = _ACTIVATE[nonlinearity], weight_hh.T, []
        for projected_t in linear(x, weight_ih, bias).unbind():
            h = activate(torch.addmm(projected_t, h, transposed))
            steps.append(h)
        return torch.stack(steps), h

    if T * B * I * H >= ONEDNN_FROM and _onednn_takes(x):
        linear = _linear
    output = linear(x, weight_ih, bias)

    if B * H * H >= ONEDNN_FROM and _onednn_takes(x):
        activate_, packed = _ACTIVATE_LARGE[nonlinearity], _packed(weight_hh)
        with torch.inference_mode():
            for h_t in output.unbind():  # a view: what is written to it is written to the output
                h = activate_(h_t.add_(_linear(h, packed)))
        return output, h.clone()

    activate_ = _ACTIVATE_INPLACE[nonlinearity]
    unrecorded: AbstractContextManager[object] = (
        torch.inference_mode() if T >= LONG else nullcontext()
    )
    with unrecorded:  # takes a third off what a step costs besides its work
        if B == 1 and T >= LONG:
            h, addmv_ = h0[0], torch.Tensor.addmv_
            for h_t in output[:, 0].unbind():
                h = activate_(addmv_(h_t, weight_hh, h))
            h = h[None]
        else:
            transposed, addmm_ = weight_hh.T, torch.Tensor.addmm_
            for h_t in output.unbind():
                h = activate_(addmm_(h_t, h, transposed))
    return output, h.clone()


def _tanh_by_expm1(a: Array) -> Array:
    """tanh(a) = (e^{2a} - 1) / (e^{2a} - 1 + 2) in place: PyTorch's own takes twice as long.

    Past the bound the quotient is 1 in every dtype; without it, it would be infinity by infinity.
    """
    a.mul_(2).clamp_max_(40).expm1_()
    return a.div_(a + 2)


_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(
    torch.ops.mkldnn, "_linear_pointwise"
)


def _onednn_takes(x: Array) -> bool:
    return _HAS_ONEDNN and x.dtype == torch.float32 and x.device.type == "cpu"


def _packed(weight: Array) -> Array:
    packed: Array = torch.ops.mkldnn._reorder_linear_weight(weight)
    return packed


def _linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    product: Array = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


_ACTIVATE: dict[str, Callable[[Array], Array]] = {"tanh": torch.tanh, "relu": torch.relu}
_ACTIVATE_INPLACE: dict[str, Callable[[Array], Array]] = {"tanh": torch.tanh_, "relu": torch.relu_}
_ACTIVATE_LARGE = _ACTIVATE_INPLACE | {"tanh": _tanh_by_expm1}
