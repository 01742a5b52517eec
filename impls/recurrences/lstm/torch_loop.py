"""The LSTM in PyTorch: a Python loop over time.

    i_t, f_t, o_t = s(x_t W_i^T + b_i + h_{t-1} W_h^T + b_h)     s(a) = 1 / (1 + exp(-a))
              g_t = tanh(x_t W_i^T + b_i + h_{t-1} W_h^T + b_h)  each with weights of its own
              c_t = f_t c_{t-1} + i_t g_t
              h_t = o_t tanh(c_t)

Source of the formula: the documentation of `torch.nn.LSTM`, after Hochreiter and Schmidhuber
(1997), with the forget gate f_t of Gers, Schmidhuber and Cummins (2000). The input products of many
time steps are one matrix product; each step then works in memory that all steps share, so that
nothing is allocated, and no view made, inside the loop. The backward pass is a loop of the same
kind, written by hand: autograd sees the whole recurrence as one function.
"""

from typing import Any

import torch

Array = torch.Tensor
Cell = tuple[Array, Array, Array, Array]  # weight_ih [4H, I], weight_hh [4H, H], biases [4H]

kind = "lstm"
framework = "torch"
dtypes = ("float64", "float32", "float16", "bfloat16")

# Rows of the input products that are made at a time, so that they are still in the cache when a
# step reads them, in memory that is used again.
ROWS = 2**8

# Steps from which it is worth to leave autograd's bookkeeping: for shorter sequences it costs less
# than a function of our own.
LONG = 3


class Prepared:
    """A cell's weights, and the same as products read them; in float32 for types of 16 bits.

    Gates are in the order o i f g: those with a logistic function lie together, and so do those
    that c depends on.
    """

    def __init__(self, cell: Cell) -> None:
        """Add up the biases, since only their sum matters, and lay the weights out."""
        wide = torch.promote_types(cell[0].dtype, torch.float32)
        self.weight_ih, self.weight_hh, bias_ih, bias_hh = (a.to(wide) for a in cell)
        self.bias = bias_ih + bias_hh
        self.recorded = any(a.requires_grad for a in cell)
        with torch.no_grad():
            self.to_x, self.to_h, self.added = (
                a.roll(a.shape[0] // 4, 0) for a in (self.weight_ih, self.weight_hh, self.bias)
            )
            # Copied, since MKL is up to twice as fast with a row-major second factor.
            self.from_x, self.from_h = self.to_x.T.contiguous(), self.to_h.T.contiguous()


def prepare(cell: Cell) -> Prepared:
    """Do what is done once per set of weights.

    Args:
        cell: `(weight_ih [4H, I], weight_hh [4H, H], bias_ih [4H], bias_hh [4H])`, rows i f g o.
    """
    return Prepared(cell)


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
    dtype, wide = x.dtype, cell.from_x.dtype
    if dtype != wide:
        x, h0, c0 = x.to(wide), h0.to(wide), c0.to(wide)
    recorded = cell.recorded or x.requires_grad or h0.requires_grad or c0.requires_grad
    if not (recorded and torch.is_grad_enabled()):
        output, h_n, c_n = _recur(x, h0, c0, cell)
    elif len(x) < LONG:
        output, h_n, c_n = _record(x, h0, c0, cell)
    else:
        parameters = cell.weight_ih, cell.weight_hh, cell.bias
        output, h_n, c_n = _Recurrence.apply(  # type: ignore[no-untyped-call]  # torch gives it no types
            x, h0, c0, *parameters, cell
        )
    if dtype != wide:
        return output.to(dtype), h_n.to(dtype), c_n.to(dtype)
    return output, h_n, c_n


def _record(x: Array, h: Array, c: Array, cell: Prepared) -> tuple[Array, Array, Array]:
    """Run the layer so that autograd records every step."""
    steps, projected = [], torch.nn.functional.linear(x, cell.weight_ih, cell.bias)
    for input_t in projected:
        i, f, g, o = torch.addmm(input_t, h, cell.weight_hh.T).chunk(4, 1)
        c = torch.addcmul(torch.sigmoid(f) * c, torch.sigmoid(i), torch.tanh(g))
        h = torch.sigmoid(o) * torch.tanh(c)
        steps.append(h)
    return (torch.stack(steps) if steps else projected[:, :, : h.shape[1]]), h, c


def _recur(
    x: Array, h0: Array, c0: Array, cell: Prepared, kept: Array | None = None
) -> tuple[Array, Array, Array]:
    """Run the layer; write o, i, f, g and c of all steps to what is to be kept, `[T, B, 5H]`."""
    (T, B, I), H = x.shape, h0.shape[1]
    output = x.new_empty((T, B, H))
    length = max(1, min(T, ROWS // max(1, B)))
    with torch.inference_mode():  # takes a third off what a call costs besides its work
        projected, state = x.new_empty((length, B, 4 * H)), x.new_empty((B, 5 * H))
        flat, inputs, rows = projected.view(-1, 4 * H), projected.unbind(), x.reshape(T * B, I)
        a, gates, (o, i, f, g, c) = state[:, :-H], state[:, : 3 * H], state.chunk(5, 1)
        from_h, h = cell.from_h, h0
        c.copy_(c0)
        addmm, sigmoid_, tanh, tanh_ = torch.addmm, torch.sigmoid_, torch.tanh, torch.tanh_
        mul_, addcmul_ = torch.Tensor.mul_, torch.Tensor.addcmul_
        for first in range(0, T, length):
            part = rows[first * B : (first + length) * B]
            addmm(cell.added, part, cell.from_x, out=flat[: len(part)])
            steps = output[first : first + length].unbind()
            keep = None if kept is None else iter(kept[first : first + length].unbind())
            for input_t, h_t in zip(inputs, steps, strict=False):
                addmm(input_t, h, from_h, out=a)
                sigmoid_(gates)
                tanh_(g)
                addcmul_(mul_(c, f), i, g)
                mul_(tanh(c, out=h_t), o)
                h = h_t
                if keep is not None:
                    next(keep).copy_(state)
    return output, (output[-1] if T else h0).clone(), c.clone()


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
        x, h0, c0, _, _, _, cell = arguments
        (T, B, _), H = x.shape, h0.shape[1]
        kept = x.new_empty((T, B, 5 * H))
        output, h_n, c_n = _recur(x, h0, c0, cell, kept)
        ctx.save_for_backward(x, h0, c0, output, kept)
        ctx.cell = cell
        return output, h_n, c_n

    @staticmethod
    def backward(
        ctx: Any, grad_output: Array, grad_h_n: Array, grad_c_n: Array
    ) -> tuple[Array | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("torch-loop can be differentiated once: leave create_graph out")
        (x, h0, c0, output, kept), cell = ctx.saved_tensors, ctx.cell
        (T, B, I), H = x.shape, h0.shape[1]
        sigmoid_backward = torch.ops.aten.sigmoid_backward  # (g, s) -> g s (1 - s)
        tanh_backward = torch.ops.aten.tanh_backward  # (g, t) -> g (1 - t^2)
        grad_a = x.new_empty((T, B, 4 * H))
        with torch.inference_mode():
            # What the gradients of h_t and c_t are multiplied by, for all steps at once.
            o, i, f, g, c = kept.chunk(5, 2)
            of_o, of_i, of_f, of_g = grad_a.chunk(4, 2)
            tanh_c, c_before = c.tanh(), torch.cat((c0[None], c[:-1]))
            sigmoid_backward(tanh_c, o, grad_input=of_o)
            sigmoid_backward(g, i, grad_input=of_i)
            sigmoid_backward(c_before, f, grad_input=of_f)
            tanh_backward(i, g, grad_input=of_g)
            to_c = tanh_backward(o, tanh_c)

            by_gate = x.new_empty((B, 4, H))  # of h, for o; of c, for the others
            grad_h, grad_c, copies = by_gate[:, 0], by_gate[:, 1], by_gate[:, 2:]
            by_gate[:, 0], by_gate[:, 1], to_h = grad_h_n, grad_c_n, cell.to_h
            repeated, flat = grad_c[:, None], by_gate.view(B, 4 * H)
            steps = (one.unbind()[::-1] for one in (grad_a, to_c, f, grad_output))
            for grad_a_t, to_c_t, f_t, given_t in zip(*steps, strict=True):
                grad_h.add_(given_t)
                grad_c.addcmul_(grad_h, to_c_t)
                copies.copy_(repeated)
                grad_a_t.mul_(flat)
                grad_c.mul_(f_t)
                torch.mm(grad_a_t, to_h, out=grad_h)

        rows, before = grad_a.view(T * B, 4 * H), torch.cat((h0[None], output[:-1]))
        columns = rows.T
        return (
            (rows @ cell.to_x).view(T, B, I),
            grad_h.clone(),
            grad_c.clone(),
            (columns @ x.reshape(T * B, I)).roll(-H, 0),
            (columns @ before.view(T * B, H)).roll(-H, 0),
            rows.sum(0).roll(-H, 0),
            None,
        )
