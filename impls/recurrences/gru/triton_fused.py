"""The GRU as one Triton kernel: every step of a layer in one launch, W_hh on chip.

    r_t = s(x_t W_ir^T + b_ir + h_{t-1} W_hr^T + b_hr)           s(a) = 1 / (1 + exp(-a))
    z_t = s(x_t W_iz^T + b_iz + h_{t-1} W_hz^T + b_hz)
    n_t = tanh(x_t W_in^T + b_in + r_t (h_{t-1} W_hn^T + b_hn))
    h_t = n_t + z_t (h_{t-1} - n_t)

Source of the formula: the documentation of `torch.nn.GRU`, after Cho et al. (2014), whose r_t
multiplies h_{t-1} before the product and not after it. The input products of all steps are one
matrix product before; the kernel (recurrences/triton_gates.py) adds the recurrent ones. Weight
gradients are matrix products after it. It has not run on a card.
"""

from typing import Any, NamedTuple

import torch

from recurrences import triton_gates
from recurrences.triton_layout import INTERPRETED, Plan, plan, processors, width

Array = torch.Tensor
Cell = tuple[Array, Array, Array, Array]  # weight_ih [3H, I], weight_hh [3H, H], biases [3H]

kind = "gru"
framework = "torch"
dtypes = ("float64", "float32", "float16", "bfloat16")
devices = ("cpu",) if INTERPRETED else ("cuda",)


class Prepared(NamedTuple):
    """A cell's weights, in float32 for types of 16 bits, and W_hh as the kernel reads it.

    For each direction, gate after gate, each padded with zeros to K by K, K a power of 2.
    """

    weight_ih: Array  # [3H, I]
    weight_hh: Array  # [3H, H]
    bias: Array  # bias_ih, to which b_hr and b_hz are added, [3H]
    bias_n: Array  # b_hn, [H]
    padded: Array  # [3, K, K]
    transposed: Array  # [3, K, K]


def prepare(cell: Cell) -> Prepared:
    """Do what is done once per set of weights.

    Args:
        cell: `(weight_ih [3H, I], weight_hh [3H, H], bias_ih [3H], bias_hh [3H])`, rows r z n.
    """
    wide = torch.promote_types(cell[0].dtype, torch.float32)
    weight_ih, weight_hh, bias_ih, bias_hh = (a.to(wide) for a in cell)
    H = weight_hh.shape[1]
    missing = width(H) - H
    gates = weight_hh.detach().view(3, H, H)
    padded = torch.nn.functional.pad(gates, (0, missing, 0, missing)).contiguous()
    bias = bias_ih + torch.cat((bias_hh[: 2 * H], torch.zeros_like(bias_hh[2 * H :])))
    bias_n = bias_hh[2 * H :].contiguous()
    return Prepared(weight_ih, weight_hh, bias, bias_n, padded, padded.mT.contiguous())


def layer(x: Array, h0: Array, cell: Prepared) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        cell: what `prepare` returned.

    Returns:
        The output `[T, B, H]`, which is h_1 to h_T, and h_n `[B, H]`, which is h_T. Types of 16
        bits are float32 in between.
    """
    if 0 in x.shape[:2]:  # there is no step to make
        return h0.new_empty((len(x), *h0.shape)), h0.clone()
    dtype, wide, at_once = x.dtype, cell.weight_ih.dtype, processors(x.device)
    x, h0 = x.to(wide), h0.to(wide)
    chosen = plan(len(h0), h0.shape[1], wide, at_once, gates=3)
    arrays = x, h0, cell.weight_ih, cell.weight_hh, cell.bias, cell.bias_n
    recorded = torch.is_grad_enabled() and any(array.requires_grad for array in arrays)
    if chosen.split > at_once:  # too wide for the card: each product fills it by itself
        output, h_n = _loop(x, h0, cell)
    elif recorded:
        output, h_n = _Recurrence.apply(  # type: ignore[no-untyped-call]  # torch gives it no types
            *arrays, cell, chosen
        )
    else:
        states, _ = _forward(x, h0, cell, False, chosen)
        output, h_n = states[1:], states[-1].clone()
    return output.to(dtype), h_n.to(dtype)


class _Recurrence(torch.autograd.Function):
    """The recurrence, and its gradients by backpropagation through time (Werbos, 1990).

    With g_t for the gradient of h_t, q_t for h_{t-1} W_hn^T + b_hn, and grad_v for the gradient of
    what v's tanh or logistic function is taken of,

        g_t = grad_output_t + g_{t+1} z_{t+1} + [grad_r, grad_z, grad_n r]_{t+1} W_hh
        grad_n_t = g_t (1 - z_t) (1 - n_t^2)
        grad_z_t = g_t (h_{t-1} - n_t) z_t (1 - z_t)
        grad_r_t = grad_n_t q_t r_t (1 - r_t)
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Array, Array]:
        x, h0, weight_ih, _, _, _, cell, chosen = arguments
        states, kept = _forward(x, h0, cell, True, chosen)
        ctx.save_for_backward(x, weight_ih, states, kept)
        ctx.transposed, ctx.plan = cell.transposed, chosen
        return states.narrow(0, 1, len(x)), states[-1].clone()

    @staticmethod
    def backward(ctx: Any, grad_output: Array, grad_h_n: Array) -> tuple[Array | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("triton-fused can be differentiated once: leave create_graph out")
        x, weight_ih, states, kept = ctx.saved_tensors
        (T, B, I), H = x.shape, states.shape[2]
        upstream = grad_output.contiguous(), ctx.transposed, grad_h_n.contiguous(), None
        sums, grad_h0, _ = triton_gates.backward(*upstream, kept, states, ctx.plan)
        # Of r, z, q and n: x's product has no part in q, h's none in n.
        rows, before = sums.view(T * B, 4 * H), states.view(-1, H).narrow(0, 0, T * B)
        of_gates, of_h, of_n = rows[:, : 2 * H], rows[:, : 3 * H], rows[:, 3 * H :]
        of_x, of_h0, of_weight_ih, of_weight_hh, of_bias, of_bias_n, *_ = ctx.needs_input_grad
        inputs = x.reshape(T * B, I)
        grad_x = torch.addmm(of_n.mm(weight_ih[2 * H :]), of_gates, weight_ih[: 2 * H])
        return (
            grad_x.view(T, B, I) if of_x else None,
            grad_h0 if of_h0 else None,
            torch.cat((of_gates.t().mm(inputs), of_n.t().mm(inputs))) if of_weight_ih else None,
            of_h.t().mm(before) if of_weight_hh else None,
            torch.cat((of_gates.sum(0), of_n.sum(0))) if of_bias else None,
            of_h[:, 2 * H :].sum(0) if of_bias_n else None,
            None,
            None,
        )


def _forward(x: Array, h0: Array, cell: Prepared, keep: bool, chosen: Plan) -> tuple[Array, Array]:
    """Return h_0 to h_T, `[T + 1, B, H]`, and what the backward pass needs."""
    projected = torch.nn.functional.linear(x, cell.weight_ih, cell.bias).contiguous()
    given = projected, cell.padded, cell.bias_n, h0.contiguous(), None
    states, _, kept = triton_gates.forward(*given, keep, chosen)
    return states, kept


def _loop(x: Array, h: Array, cell: Prepared) -> tuple[Array, Array]:
    steps = []
    for projected_t in torch.nn.functional.linear(x, cell.weight_ih, cell.bias):
        i_r, i_z, i_n = projected_t.chunk(3, 1)
        h_r, h_z, h_n = torch.mm(h, cell.weight_hh.T).chunk(3, 1)
        n = torch.tanh(i_n + torch.sigmoid(i_r + h_r) * (h_n + cell.bias_n))
        h = n + torch.sigmoid(i_z + h_z) * (h - n)
        steps.append(h)
    return torch.stack(steps), h.clone()
