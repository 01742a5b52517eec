"""The recurrence as one Triton kernel: every step of a layer in one launch, W_hh on chip.

    h_t = tanh(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh)

Source of the formula: the documentation of `torch.nn.RNN`. The input products of all steps are one
matrix product before; the kernel (elman/triton_kernel.py) adds the recurrent ones. Weight gradients
are matrix products after it.
"""

from typing import Any, NamedTuple

import torch

from recurrences.elman.triton_kernel import run
from recurrences.triton_layout import INTERPRETED, Plan, plan, processors, width

Array = torch.Tensor
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]

framework = "torch"
dtypes = ("float64", "float32", "float16", "bfloat16")
devices = ("cpu",) if INTERPRETED else ("cuda",)


class Prepared(NamedTuple):
    """A cell's weights, in float32 for types of 16 bits, and W_hh as the kernel reads it.

    For each direction, padded with zeros to K by K, K a power of 2.
    """

    weight_ih: Array  # [H, I]
    weight_hh: Array  # [H, H]
    bias: Array  # bias_ih + bias_hh, [H]
    padded: Array  # [K, K]
    transposed: Array  # [K, K]


def prepare(cell: Cell, nonlinearity: str) -> Prepared:
    """Do what is done once per set of weights.

    Args:
        cell: `(weight_ih [H, I], weight_hh [H, H], bias_ih [H], bias_hh [H])`.
        nonlinearity: not needed.
    """
    wide = torch.promote_types(cell[0].dtype, torch.float32)
    weight_ih, weight_hh, bias_ih, bias_hh = (a.to(wide) for a in cell)
    H = len(weight_hh)
    missing = width(H) - H
    padded = torch.nn.functional.pad(weight_hh.detach(), (0, missing, 0, missing)).contiguous()
    return Prepared(weight_ih, weight_hh, bias_ih + bias_hh, padded, padded.T.contiguous())


def layer(x: Array, h0: Array, cell: Prepared, nonlinearity: str) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        cell: what `prepare` returned.
        nonlinearity: "tanh" or "relu".

    Returns:
        The output `[T, B, H]`, which is h_1 to h_T, and h_n `[B, H]`, which is h_T. Types of 16
        bits are float32 in between.
    """
    if 0 in x.shape[:2]:  # there is no step to make
        return h0.new_empty((len(x), *h0.shape)), h0.clone()
    dtype, wide, at_once = x.dtype, cell.weight_ih.dtype, processors(x.device)
    x, h0 = x.to(wide), h0.to(wide)
    chosen = plan(len(h0), h0.shape[1], wide, at_once)
    arrays = x, h0, cell.weight_ih, cell.weight_hh, cell.bias
    recorded = torch.is_grad_enabled() and any(array.requires_grad for array in arrays)
    if chosen.split > at_once:  # too wide for the card: each product fills it by itself
        output, h_n = _loop(x, h0, cell, nonlinearity)
    elif recorded:
        output, h_n = _Recurrence.apply(  # type: ignore[no-untyped-call]
            *arrays, cell, nonlinearity, chosen
        )
    else:
        states, h_n = _forward(x, h0, cell, nonlinearity, chosen)
        output = states.narrow(0, 1, len(x))
    return output.to(dtype), h_n.to(dtype)


class _Recurrence(torch.autograd.Function):
    """The recurrence, and its gradients by backpropagation through time (Werbos, 1990).

        grad_a_t = (grad_output_t + grad_a_{t+1} W_hh) * f'(a_t)

    with f' = 1 - h_t^2 for tanh and [h_t > 0] for relu.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Array, Array]:
        x, h0, weight_ih, _, _, cell, nonlinearity, chosen = arguments
        states, h_n = _forward(x, h0, cell, nonlinearity, chosen)
        ctx.save_for_backward(x, weight_ih, states)
        ctx.transposed, ctx.nonlinearity, ctx.plan = cell.transposed, nonlinearity, chosen
        return states.narrow(0, 1, len(x)), h_n

    @staticmethod
    def backward(ctx: Any, grad_output: Array, grad_h_n: Array) -> tuple[Array | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("triton-fused can be differentiated once: leave create_graph out")
        x, weight_ih, states = ctx.saved_tensors
        (T, B, I), H = x.shape, len(weight_ih)
        upstream, after = grad_output.contiguous(), grad_h_n.contiguous()
        grad_a, grad_h0 = run(upstream, ctx.transposed, after, states, ctx.nonlinearity, ctx.plan)
        rows = grad_a.view(T * B, H)
        columns = rows.t()
        of_x, of_h0, of_weight_ih, of_weight_hh, of_bias, *_ = ctx.needs_input_grad
        return (
            rows.mm(weight_ih).view(T, B, I) if of_x else None,
            grad_h0 if of_h0 else None,
            columns.mm(x.reshape(T * B, I)) if of_weight_ih else None,
            columns.mm(states.view(-1, H).narrow(0, 0, T * B)) if of_weight_hh else None,
            rows.sum(0) if of_bias else None,
            None,
            None,
            None,
        )


def _forward(
    x: Array, h0: Array, cell: Prepared, nonlinearity: str, chosen: Plan
) -> tuple[Array, Array]:
    """Return h_0 to h_T, `[T + 1, B, H]`, and h_T again."""
    projected = torch.nn.functional.linear(x, cell.weight_ih, cell.bias).contiguous()
    return run(projected, cell.padded, h0.contiguous(), None, nonlinearity, chosen)


def _loop(x: Array, h0: Array, cell: Prepared, nonlinearity: str) -> tuple[Array, Array]:
    activate = {"tanh": torch.tanh, "relu": torch.relu}[nonlinearity]
    h, steps = h0, []
    for projected_t in torch.nn.functional.linear(x, cell.weight_ih, cell.bias):
        h = activate(torch.addmm(projected_t, h, cell.weight_hh.T))
        steps.append(h)
    return torch.stack(steps), h.clone()
