"""The recurrence in PyTorch: a Python loop over time.

    h_t = tanh(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh)

Source of the formula: the documentation of `torch.nn.RNN`. The input products of all time steps
are one matrix product; each step then turns its slice of it into h_t in place, so that nothing is
allocated inside the loop. Large steps on the CPU are instead one call of oneDNN, which joins both
products, the bias and tanh. The backward pass is a loop of the same kind, written by hand: autograd
sees the whole recurrence as one function, unless the sequence is very short.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch

Array = torch.Tensor
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]

framework = "torch"
dtypes = ("float64", "float32", "float16", "bfloat16")

# Multiply-adds from which oneDNN, whose product of float32 matrices on the CPU is up to twice as
# fast as what PyTorch calls by itself, is worth the 10 microseconds that calling it takes.
ONEDNN_FROM = 2**20

# Each step makes its own input product where it has up to so many inputs per sequence: it reads the
# weights again, but the products of all steps need not be written and read.
INPUTS_PER_ROW = 32

# Elements of a state up to which the output is made where autograd never sees it, and copied in the
# end: in-place calls on such tensors cost a tenth less.
COPIED_UP_TO = 2**10

# Steps from which it is worth to leave autograd's bookkeeping: for shorter sequences it costs less
# than a function of our own.
LONG = 6


class Prepared:
    """A cell's weights; packed as oneDNN reads them best when that is first needed."""

    def __init__(self, cell: Cell) -> None:
        """Add up the biases, since only their sum matters."""
        self.weight_ih, self.weight_hh, bias_ih, bias_hh = cell
        self.from_x, self.from_h = self.weight_ih.T, self.weight_hh.T
        self.bias = bias_ih + bias_hh
        self.state_first = self.weight_hh.shape[1] >= self.weight_ih.shape[1]
        self.recorded = any(a.requires_grad for a in cell)

    @cached_property
    def packed(self) -> Array:
        """The recurrent weight."""
        return _packed(self.weight_hh)

    @cached_property
    def joined(self) -> Array:
        """Both weights side by side: what h_{t-1} and x_t side by side are multiplied by.

        The longer comes first: oneDNN adds up from left to right, and many small terms added to the
        sum of a few large ones would each be rounded at its size.
        """
        weights = self.weight_hh, self.weight_ih
        return _packed(torch.cat(weights if self.state_first else weights[::-1], 1))


def prepare(cell: Cell, nonlinearity: str) -> Prepared:
    """Do what is done once per set of weights.

    Args:
        cell: `(weight_ih [H, I], weight_hh [H, H], bias_ih [H], bias_hh [H])`.
        nonlinearity: not needed.
    """
    return Prepared(cell)


def layer(x: Array, h0: Array, cell: Prepared, nonlinearity: str) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        cell: what `prepare` returned.
        nonlinearity: "tanh" or "relu".

    Returns:
        The output `[T, B, H]`, which is h_1 to h_T, and h_n `[B, H]`, which is h_T.
    """
    if not (torch.is_grad_enabled() and (cell.recorded or x.requires_grad or h0.requires_grad)):
        return _recur(x, h0, cell, nonlinearity)
    if len(x) >= LONG:
        parameters = cell.weight_ih, cell.weight_hh, cell.bias
        output, h_n = _Recurrence.apply(  # type: ignore[no-untyped-call]  # torch gives it no types
            x, h0, *parameters, cell, nonlinearity
        )
        return output, h_n
    h, steps = h0, []
    projected = torch.nn.functional.linear(x, cell.weight_ih, cell.bias)
    for projected_t in projected:
        h = _ACTIVATE[nonlinearity](torch.addmm(projected_t, h, cell.from_h))
        steps.append(h)
    return (torch.stack(steps) if steps else projected), h


def _recur(x: Array, h0: Array, cell: Prepared, nonlinearity: str) -> tuple[Array, Array]:
    (T, B, I), H = x.shape, h0.shape[1]
    activate_, h, transposed = _ACTIVATE_INPLACE[nonlinearity], h0, cell.from_h

    large = B * H * H >= ONEDNN_FROM and _onednn_takes(x)
    if large and I <= INPUTS_PER_ROW * B:
        steps, cat = [], torch.cat
        with torch.inference_mode():
            joined, bias, state_first = cell.joined, cell.bias, cell.state_first
            for x_t in x.unbind():
                both = (h, x_t) if state_first else (x_t, h)
                h = _linear(cat(both, 1), joined, bias, nonlinearity)
                steps.append(h)
        return torch.stack(steps), h.clone()
    if T == 1 and not large:  # as in streaming
        h = torch.addmm(cell.bias, x[0], cell.from_x).addmm_(h0, transposed)
        return activate_(h)[None], h.clone()

    linear: Callable[..., Array] = torch.nn.functional.linear
    if T * B * I * H >= ONEDNN_FROM and _onednn_takes(x):
        linear = _linear
    if T < LONG and not large:
        output = linear(x, cell.weight_ih, cell.bias)
        for h_t in output.unbind():  # a view: what is written to it is written to the output
            h = activate_(h_t.addmm_(h, transposed))
        return output, h.clone()
    if B * H <= COPIED_UP_TO:
        with torch.inference_mode():
            output = linear(x, cell.weight_ih, cell.bias)
            h = _run_in_place(output, h0, cell, activate_, large)
        return output.clone(), h.clone()
    output = linear(x, cell.weight_ih, cell.bias)
    with torch.inference_mode():  # takes a third off what a step costs besides its work
        h = _run_in_place(output, h0, cell, activate_, large)
    return output, h.clone()


def _run_in_place(
    output: Array, h: Array, cell: Prepared, activate_: Callable[[Array], Array], large: bool
) -> Array:
    """Turn what x_t and the biases contribute to each step into h_t, and return h_T."""
    B = len(h)
    if large:
        packed = cell.packed
        for h_t in output.unbind():
            h = activate_(h_t.add_(_linear(h, packed)))
    elif B == 1:
        weight_hh, h, addmv_ = cell.weight_hh, h[0], torch.Tensor.addmv_
        for h_t in output[:, 0].unbind():
            h = activate_(addmv_(h_t, weight_hh, h))
    else:
        from_h, addmm_ = cell.from_h, torch.Tensor.addmm_
        for h_t in output.unbind():
            h = activate_(addmm_(h_t, h, from_h))
    return h.view(B, -1)


class _Recurrence(torch.autograd.Function):
    """The recurrence, and its gradients by backpropagation through time (Werbos, 1990).

        grad_a_t = (grad_output_t + grad_a_{t+1} W_hh) * f'(a_t)

    with f' = 1 - h_t^2 for tanh and [h_t > 0] for relu.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Array, Array]:
        x, h0, weight_ih, weight_hh, _, cell, nonlinearity = arguments
        output, h_n = _recur(x, h0, cell, nonlinearity)
        ctx.save_for_backward(x, h0, weight_ih, weight_hh, output)
        ctx.nonlinearity = nonlinearity
        return output, h_n

    @staticmethod
    def backward(ctx: Any, grad_output: Array, grad_h_n: Array) -> tuple[Array | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("torch-loop can be differentiated once: leave create_graph out")
        x, h0, weight_ih, weight_hh, output = ctx.saved_tensors
        (T, B, I), H = x.shape, h0.shape[1]
        if ctx.nonlinearity == "tanh":
            slope = torch.addcmul(output.new_ones(()), output, output, value=-1)
        else:
            slope = (output > 0).to(output.dtype)

        large = B * H * H >= ONEDNN_FROM and _onednn_takes(x)
        packed = _packed(weight_hh.T) if large else weight_hh
        steps, grad_h = slope.unbind(), grad_h_n.clone()
        with torch.inference_mode():
            for grad_a_t, grad_t in zip(
                reversed(steps), reversed(grad_output.unbind()), strict=True
            ):
                grad_a_t.mul_(grad_h.add_(grad_t))
                grad_h = _linear(grad_a_t, packed) if large else grad_a_t.mm(weight_hh)

        rows = slope.view(T * B, H)
        columns = rows.T.contiguous()
        of_weight_hh = _product(columns[:, B:], output[:-1].view((T - 1) * B, H))
        return (
            _product(rows, weight_ih).view(T, B, I),
            grad_h.clone(),
            _product(columns, x.reshape(T * B, I)),
            of_weight_hh.addmm_(columns[:, :B], h0),
            rows.sum(0),
            None,
            None,
        )


_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(
    torch.ops.mkldnn, "_linear_pointwise"
)


def _onednn_takes(x: Array) -> bool:
    return _HAS_ONEDNN and x.dtype == torch.float32 and x.device.type == "cpu"


def _packed(weight: Array) -> Array:
    packed: Array = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
    return packed


def _linear(x: Array, weight: Array, bias: Array | None = None, then: str = "none") -> Array:
    product: Array = torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "")
    return product


def _product(a: Array, b: Array) -> Array:
    large = len(a) * b.numel() >= ONEDNN_FROM and _onednn_takes(a)
    return _linear(a, b.T) if large else a @ b


_ACTIVATE = {"tanh": torch.tanh, "relu": torch.relu}
_ACTIVATE_INPLACE = {"tanh": torch.tanh_, "relu": torch.relu_}
