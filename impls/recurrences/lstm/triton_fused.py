"""The LSTM as one Triton kernel: every step of a layer in one launch, W_hh on chip.

    i_t, f_t, o_t = s(x_t W_i^T + b_i + h_{t-1} W_h^T + b_h)     s(a) = 1 / (1 + exp(-a))
              g_t = tanh(x_t W_i^T + b_i + h_{t-1} W_h^T + b_h)  each with weights of its own
              c_t = f_t c_{t-1} + i_t g_t
              h_t = o_t tanh(c_t)

Source of the formula: the documentation of `torch.nn.LSTM`, after Hochreiter and Schmidhuber
(1997), with the forget gate f_t of Gers, Schmidhuber and Cummins (2000). The input products of all
steps are one matrix product before; the kernel (recurrences/triton_gates.py) adds the recurrent
ones. Weight gradients are matrix products after it. It has not run on a card.
"""

from typing import Any, NamedTuple

import torch

from recurrences import triton_gates
from recurrences.triton_layout import INTERPRETED, Plan, plan, processors, width

Array = torch.Tensor
Cell = tuple[Array, Array, Array, Array]  # weight_ih [4H, I], weight_hh [4H, H], biases [4H]

kind = "lstm"
framework = "torch"
dtypes = ("float64", "float32", "float16", "bfloat16")
devices = ("cpu",) if INTERPRETED else ("cuda",)


class Prepared(NamedTuple):
    """A cell's weights, in float32 for types of 16 bits, and W_hh as the kernel reads it.

    For each direction, gate after gate, each padded with zeros to K by K, K a power of 2.
    """

    weight_ih: Array  # [4H, I]
    weight_hh: Array  # [4H, H]
    bias: Array  # bias_ih + bias_hh, [4H]
    padded: Array  # [4, K, K]
    transposed: Array  # [4, K, K]


def prepare(cell: Cell) -> Prepared:
    """Do what is done once per set of weights.

    Args:
        cell: `(weight_ih [4H, I], weight_hh [4H, H], bias_ih [4H], bias_hh [4H])`, rows i f g o.
    """
    wide = torch.promote_types(cell[0].dtype, torch.float32)
    weight_ih, weight_hh, bias_ih, bias_hh = (a.to(wide) for a in cell)
    H = weight_hh.shape[1]
    missing = width(H) - H
    gates = weight_hh.detach().view(4, H, H)
    padded = torch.nn.functional.pad(gates, (0, missing, 0, missing)).contiguous()
    return Prepared(weight_ih, weight_hh, bias_ih + bias_hh, padded, padded.mT.contiguous())


def layer(x: Array, h0: Array, c0: Array, cell: Prepared) -> tuple[Array, Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        c0: initial cell state, `[B, H]`.
        cell: what `prepare` returned.

    Returns:
        The output `[T, B, H]`, which is h_1 to h_T, h_n `[B, H]`, which is h_T, and c_n `[B, H]`,
        which is c_T. Types of 16 bits are float32 in between.
    """
    if 0 in x.shape[:2]:  # there is no step to make
        return h0.new_empty((len(x), *h0.shape)), h0.clone(), c0.clone()
    dtype, wide, at_once = x.dtype, cell.weight_ih.dtype, processors(x.device)
    x, h0, c0 = x.to(wide), h0.to(wide), c0.to(wide)
    chosen = plan(len(h0), h0.shape[1], wide, at_once, gates=4)
    arrays = x, h0, c0, cell.weight_ih, cell.weight_hh, cell.bias
    recorded = torch.is_grad_enabled() and any(array.requires_grad for array in arrays)
    if chosen.split > at_once:  # too wide for the card: each product fills it by itself
        output, h_n, c_n = _loop(x, h0, c0, cell)
    elif recorded:
        output, h_n, c_n = _Recurrence.apply(  # type: ignore[no-untyped-call]  # torch gives it no types
            *arrays, cell, chosen
        )
    else:
        states, cells, _ = _forward(x, h0, c0, cell, False, chosen)
        output, h_n, c_n = states[1:], states[-1].clone(), cells[-1].clone()
    return output.to(dtype), h_n.to(dtype), c_n.to(dtype)


class _Recurrence(torch.autograd.Function):
    """The recurrence, and its gradients by backpropagation through time (Werbos, 1990).

    With dh_t and dc_t for the gradients of h_t and c_t, and grad_v for the gradient of what v's
    tanh or logistic function is taken of,

        dh_t = grad_output_t + [grad_i, grad_f, grad_g, grad_o]_{t+1} W_hh
        dc_t = dh_t o_t (1 - tanh(c_t)^2) + dc_{t+1} f_{t+1}
        grad_i_t = dc_t g_t i_t (1 - i_t)            grad_f_t = dc_t c_{t-1} f_t (1 - f_t)
        grad_g_t = dc_t i_t (1 - g_t^2)              grad_o_t = dh_t tanh(c_t) o_t (1 - o_t)
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Array, Array, Array]:
        x, h0, c0, weight_ih, _, _, cell, chosen = arguments
        states, cells, kept = _forward(x, h0, c0, cell, True, chosen)
        ctx.save_for_backward(x, weight_ih, states, cells, kept)
        ctx.transposed, ctx.plan = cell.transposed, chosen
        return states.narrow(0, 1, len(x)), states[-1].clone(), cells[-1].clone()

    @staticmethod
    def backward(
        ctx: Any, grad_output: Array, grad_h_n: Array, grad_c_n: Array
    ) -> tuple[Array | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("triton-fused can be differentiated once: leave create_graph out")
        x, weight_ih, states, cells, kept = ctx.saved_tensors
        (T, B, I), H = x.shape, states.shape[2]
        upstream = (grad_output.contiguous(), ctx.transposed, grad_h_n.contiguous(), grad_c_n)
        sums, grad_h0, grad_c0 = triton_gates.backward(*upstream, kept, cells, ctx.plan)
        rows, before = sums.view(T * B, 4 * H), states.view(-1, H).narrow(0, 0, T * B)
        columns = rows.t()
        of_x, of_h0, of_c0, of_weight_ih, of_weight_hh, of_bias, *_ = ctx.needs_input_grad
        return (
            rows.mm(weight_ih).view(T, B, I) if of_x else None,
            grad_h0 if of_h0 else None,
            grad_c0 if of_c0 else None,
            columns.mm(x.reshape(T * B, I)) if of_weight_ih else None,
            columns.mm(before) if of_weight_hh else None,
            rows.sum(0) if of_bias else None,
            None,
            None,
        )


def _forward(
    x: Array, h0: Array, c0: Array, cell: Prepared, keep: bool, chosen: Plan
) -> tuple[Array, Array, Array]:
    """Return h_0 to h_T, c_0 to c_T, `[T + 1, B, H]`, and what the backward pass needs."""
    projected = torch.nn.functional.linear(x, cell.weight_ih, cell.bias).contiguous()
    given = projected, cell.padded, None, h0.contiguous(), c0.contiguous()
    return triton_gates.forward(*given, keep, chosen)


def _loop(x: Array, h: Array, c: Array, cell: Prepared) -> tuple[Array, Array, Array]:
    steps = []
    for projected_t in torch.nn.functional.linear(x, cell.weight_ih, cell.bias):
        i, f, g, o = torch.addmm(projected_t, h, cell.weight_hh.T).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        steps.append(h)
    return torch.stack(steps), h.clone(), c.clone()
