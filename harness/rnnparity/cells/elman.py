"""The plain recurrence of `torch.nn.RNN`: one layer in one direction, forward and backward.

Written as the formula is, in whatever precision it is given: the definition, not an optimisation.
"""

from dataclasses import dataclass

import numpy as np

from rnnparity.cells.config import Cell
from rnnparity.types import Array


@dataclass
class Trace:
    """One layer in one direction: what it was given, and what came of it, forward and backward."""

    cell: Cell
    x: Array  # [T, B, I]
    h0: Array  # [B, H]
    output: Array  # [T, B, H]
    grad_h: Array  # [T, B, H], gradient of every h_t
    grad_a: Array  # [T, B, H], gradient of what goes into the nonlinearity

    @property
    def states(self) -> list[Array]:
        """Each state after every step, `[T, B, H]`."""
        return [self.output]

    @property
    def grad_states(self) -> list[Array]:
        """The gradient of each state, `[T, B, H]`."""
        return [self.grad_h]

    @property
    def grad_input(self) -> Array:
        """The gradient of the input's product, `[T, B, H]`."""
        return self.grad_a

    @property
    def grad_state(self) -> Array:
        """The gradient of the state's product, `[T, B, H]`."""
        return self.grad_a


def layer(x: Array, h0: Array, trace: Trace, nonlinearity: str) -> tuple[Array, Array]:
    """One layer, one direction, as the formula is written: the definition, not an optimisation."""
    weight_ih, weight_hh, bias_ih, bias_hh = trace.cell
    h, output = h0, np.empty((*x.shape[:2], h0.shape[1]), x.dtype)
    for t, x_t in enumerate(x):
        a = x_t @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh
        h = np.tanh(a) if nonlinearity == "tanh" else np.maximum(a, 0)
        output[t] = h
    trace.x, trace.h0, trace.output = x, h0, output
    return output, h


def layer_backward(
    grad_output: Array,
    grad_h_n: Array,
    x: Array,
    h0: Array,
    output: Array,
    trace: Trace,
    nonlinearity: str,
) -> tuple[Array, Array, Cell]:
    """Backward through time, as the chain rule is written."""
    weight_ih, weight_hh, _, _ = trace.cell
    derivative = 1 - output * output if nonlinearity == "tanh" else (output > 0).astype(x.dtype)
    trace.grad_h, trace.grad_a = np.empty_like(output), np.empty_like(output)
    from_next = grad_h_n
    for t in reversed(range(len(x))):
        trace.grad_h[t] = grad_output[t] + from_next
        trace.grad_a[t] = trace.grad_h[t] * derivative[t]
        from_next = trace.grad_a[t] @ weight_hh
    flat = trace.grad_a.reshape(-1, h0.shape[1])
    h_before = np.concatenate((h0[None], output[:-1])).reshape(flat.shape)
    grad_bias = flat.sum(axis=0)
    grad_cell = Cell(
        flat.T @ x.reshape(len(flat), -1), flat.T @ h_before, grad_bias, grad_bias.copy()
    )
    return trace.grad_a @ weight_ih, from_next, grad_cell
