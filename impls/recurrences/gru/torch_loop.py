"""The GRU in PyTorch: a Python loop over time.

    r_t = s(x_t W_ir^T + b_ir + h_{t-1} W_hr^T + b_hr)           s(a) = 1 / (1 + exp(-a))
    z_t = s(x_t W_iz^T + b_iz + h_{t-1} W_hz^T + b_hz)
    n_t = tanh(x_t W_in^T + b_in + r_t (h_{t-1} W_hn^T + b_hn))
    h_t = n_t + z_t (h_{t-1} - n_t)

Source of the formula: the documentation of `torch.nn.GRU`, after Cho et al. (2014), whose r_t
multiplies h_{t-1} before the product and not after it. The input products of many time steps are
one matrix product; each step then works in memory that all steps share, so that nothing is
allocated, and no view made, inside the loop. The backward pass is a loop of the same kind, written
by hand: autograd sees the whole recurrence as one function.
"""

from typing import Any

import torch

Array = torch.Tensor
Cell = tuple[Array, Array, Array, Array]  # weight_ih [3H, I], weight_hh [3H, H], biases [3H]

kind = "gru"
framework = "torch"
dtypes = ("float64", "float32", "float16", "bfloat16")

# Rows of the input products that are made at a time, so that they are still in the cache when a
# step reads them, in memory that is used again.
ROWS = 2**8

# Steps from which it is worth to leave autograd's bookkeeping: for shorter sequences it costs less
# than a function of our own.
LONG = 3


class Prepared:
    """A cell's weights, and the same as products read them; in float32 for types of 16 bits."""

    def __init__(self, cell: Cell) -> None:
        """Lay the weights out."""
        wide = torch.promote_types(cell[0].dtype, torch.float32)
        self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh = (a.to(wide) for a in cell)
        self.recorded = any(a.requires_grad for a in cell)
        with torch.no_grad():
            # Copied, since MKL is up to twice as fast with a row-major second factor.
            self.from_x, self.from_h = self.weight_ih.T.contiguous(), self.weight_hh.T.contiguous()


def prepare(cell: Cell) -> Prepared:
    """Do what is done once per set of weights.

    Args:
        cell: `(weight_ih [3H, I], weight_hh [3H, H], bias_ih [3H], bias_hh [3H])`, rows r z n.
    """
    return Prepared(cell)


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
    dtype, wide = x.dtype, cell.from_x.dtype
    if dtype != wide:
        x, h0 = x.to(wide), h0.to(wide)
    recorded = cell.recorded or x.requires_grad or h0.requires_grad
    if not (recorded and torch.is_grad_enabled()):
        output, h_n = _recur(x, h0, cell)
    elif len(x) < LONG:
        output, h_n = _record(x, h0, cell)
    else:
        parameters = cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh
        output, h_n = _Recurrence.apply(  # type: ignore[no-untyped-call]  # torch gives it no types
            x, h0, *parameters, cell
        )
    return (output, h_n) if dtype == wide else (output.to(dtype), h_n.to(dtype))


def _record(x: Array, h: Array, cell: Prepared) -> tuple[Array, Array]:
    """Run the layer so that autograd records every step."""
    linear, steps = torch.nn.functional.linear, []
    projected = linear(x, cell.weight_ih, cell.bias_ih)
    for input_t in projected:
        to_r, to_z, to_n = input_t.chunk(3, 1)
        r, z, q = linear(h, cell.weight_hh, cell.bias_hh).chunk(3, 1)
        n = torch.addcmul(to_n, torch.sigmoid(to_r + r), q).tanh_()
        h = torch.lerp(n, h, torch.sigmoid(to_z + z))
        steps.append(h)
    return (torch.stack(steps) if steps else projected[:, :, : h.shape[1]]), h


def _recur(x: Array, h0: Array, cell: Prepared, kept: Array | None = None) -> tuple[Array, Array]:
    """Run the layer; write r, z, q and n of all steps to what is to be kept, `[T, B, 4H]`."""
    (T, B, I), H = x.shape, h0.shape[1]
    if T == 1 and kept is None:  # as in streaming
        to_r, to_z, to_n = torch.addmm(cell.bias_ih, x[0], cell.from_x).chunk(3, 1)
        r, z, q = torch.addmm(cell.bias_hh, h0, cell.from_h).chunk(3, 1)
        n = torch.addcmul(to_n, r.add_(to_r).sigmoid_(), q).tanh_()
        h = torch.lerp(n, h0, z.add_(to_z).sigmoid_())
        return h[None], h.clone()
    output = x.new_empty((T, B, H))
    length = max(1, min(T, ROWS // max(1, B)))
    with torch.inference_mode():  # takes a third off what a call costs besides its work
        from_h, h, bias_hh = cell.from_h, h0, cell.bias_hh
        projected, a = x.new_empty((length, B, 3 * H)), x.new_empty((B, 4 * H))
        flat, rows = projected.view(-1, 3 * H), x.reshape(T * B, I)
        to_gates, to_ns = projected[:, :, : 2 * H].unbind(), projected[:, :, 2 * H :].unbind()
        recurrent, gates, (r, z, q, n) = a[:, : 3 * H], a[:, : 2 * H], a.view(B, 4, H).unbind(1)
        addmm, addcmul, lerp = torch.addmm, torch.addcmul, torch.lerp
        add_, sigmoid_, tanh_ = torch.Tensor.add_, torch.sigmoid_, torch.tanh_
        for first in range(0, T, length):
            part = rows[first * B : (first + length) * B]
            addmm(cell.bias_ih, part, cell.from_x, out=flat[: len(part)])
            steps = output[first : first + length].unbind()
            keep = None if kept is None else iter(kept[first : first + length].unbind())
            for to_gates_t, to_n_t, h_t in zip(to_gates, to_ns, steps, strict=False):
                addmm(bias_hh, h, from_h, out=recurrent)
                sigmoid_(add_(gates, to_gates_t))
                tanh_(addcmul(to_n_t, r, q, out=n))
                h = lerp(n, h, z, out=h_t)
                if keep is not None:
                    next(keep).copy_(a)
    return output, (output[-1] if T else h0).clone()


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
        x, h0, _, _, _, _, cell = arguments
        (T, B, _), H = x.shape, h0.shape[1]
        kept = x.new_empty((T, B, 4 * H))
        output, h_n = _recur(x, h0, cell, kept)
        ctx.save_for_backward(x, h0, cell.weight_ih, cell.weight_hh, output, kept)
        return output, h_n

    @staticmethod
    def backward(ctx: Any, grad_output: Array, grad_h_n: Array) -> tuple[Array | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("torch-loop can be differentiated once: leave create_graph out")
        x, h0, weight_ih, weight_hh, output, kept = ctx.saved_tensors
        (T, B, I), H = x.shape, h0.shape[1]
        sigmoid_backward = torch.ops.aten.sigmoid_backward  # (g, s) -> g s (1 - s)
        tanh_backward = torch.ops.aten.tanh_backward  # (g, t) -> g (1 - t^2)
        before = torch.cat((h0[None], output[:-1]))
        of_a, gradients = x.new_empty((T, B, 3 * H)), x.new_empty((T, B, H))
        with torch.inference_mode():
            # What g is multiplied by, for all steps at once.
            r, z, q, n = kept.view(T, B, 4, H).unbind(2)
            by_gate = of_a.view(T, B, 3, H)
            of_r, of_z, of_q = by_gate.unbind(2)
            of_n = tanh_backward(1 - z, n)
            torch.mul(of_n, r, out=of_q)
            sigmoid_backward(before - n, z, grad_input=of_z)
            sigmoid_backward(of_n * q, r, grad_input=of_r)

            grad_h, passed = grad_h_n, x.new_empty((B, H))
            all_steps = (of_a, by_gate, gradients, gradients[:, :, None], z, grad_output)
            steps = (a.unbind()[::-1] for a in all_steps)
            next_grad_h = x.new_empty((B, H))
            for grad_a, by_gate_t, gradient, for_gates, z_t, given_t in zip(*steps, strict=True):
                torch.add(grad_h, given_t, out=gradient)
                by_gate_t.mul_(for_gates)
                torch.mul(gradient, z_t, out=passed)
                grad_h = torch.addmm(passed, grad_a, weight_hh, out=next_grad_h)

        rows = of_a.view(T * B, 3 * H)
        columns = rows.T
        grad_weight_hh, grad_bias_hh = columns @ before.view(T * B, H), rows.sum(0)
        # The gradient of x's product has no factor r in n.
        torch.mul(of_n, gradients, out=of_a.view(T, B, 3, H)[:, :, 2])
        return (
            (rows @ weight_ih).view(T, B, I),
            grad_h.clone(),
            columns @ x.reshape(T * B, I),
            grad_weight_hh,
            rows.sum(0),
            grad_bias_hh,
            None,
        )
