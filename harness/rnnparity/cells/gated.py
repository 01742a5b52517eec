"""One layer of a gated cell in one direction, forward and backward, by its traced step.

Written as the formula is, in whatever precision it is given; what it saw on the way is kept, for
the model of rounding to go along it.
"""

from dataclasses import dataclass, field

import numpy as np

from rnnparity.cells import gru, lstm
from rnnparity.cells.config import KINDS, Cell
from rnnparity.cells.operations import run
from rnnparity.cells.step import Step, Traced, traced
from rnnparity.types import Array

STEPS: dict[str, Step] = {"gru": gru.step, "lstm": lstm.step}


@dataclass
class GatedTrace:
    """What a layer of a gated cell was given, and what came of it, forward and backward.

    Attributes:
        cell: its parameters.
        kind: "gru" or "lstm".
        step: in place of the kind's own: a known mistake's.
        x: `[T, B, I]`.
        initial: each initial state, `[B, H]`.
        states: each state after every step, `[T, B, H]`; the first is the output.
        grad_states: the gradient of each of these, `[T, B, H]`.
        grad_input: of the input's part of all gates, `[T, B, G * H]`.
        grad_state: of the state's part of all gates, `[T, B, G * H]`.
        at_most: the largest number on the way, of the program's values and gradients, `[T, B]`.
    """

    cell: Cell
    kind: str
    step: Step | None = None
    x: Array = field(default_factory=lambda: np.empty(0))
    initial: list[Array] = field(default_factory=list)
    states: list[Array] = field(default_factory=list)
    grad_states: list[Array] = field(default_factory=list)
    grad_input: Array = field(default_factory=lambda: np.empty(0))
    grad_state: Array = field(default_factory=lambda: np.empty(0))
    at_most: Array = field(default_factory=lambda: np.empty(0))

    @property
    def h0(self) -> Array:
        """The initial h, `[B, H]`."""
        return self.initial[0]

    @property
    def output(self) -> Array:
        """H after every step, `[T, B, H]`."""
        return self.states[0]

    @property
    def traced(self) -> Traced:
        """The step as a program."""
        names = KINDS[self.kind]
        return traced(self.step or STEPS[self.kind], len(names.gates), len(names.states))

    @property
    def before(self) -> list[Array]:
        """Each state before every step, `[T, B, H]`."""
        return [
            np.concatenate((first[None], after[:-1]))
            for first, after in zip(self.initial, self.states, strict=True)
        ]


def gates(a: Array, count: int) -> list[Array]:
    """Return the parts of an array's last axis: those of each gate."""
    return np.split(a, count, axis=-1)


def layer(x: Array, *given: object) -> tuple[Array, ...]:
    """Run the layer: `(x, h0, trace)` or `(x, h0, c0, trace)` to the output, h_n, and all of c."""
    *initial, trace = given
    assert isinstance(trace, GatedTrace)
    program, G = trace.traced.program, trace.traced.gates
    weight_ih, weight_hh, bias_ih, bias_hh = trace.cell
    from_x = x @ weight_ih.T + bias_ih
    before = [np.asarray(state) for state in initial]
    states = [np.empty((*x.shape[:2], before[0].shape[1]), x.dtype) for _ in before]
    for t in range(len(x)):
        from_h = before[0] @ weight_hh.T + bias_hh
        values = [*gates(from_x[t], G), *gates(from_h, G), *before]
        values += [before[0]] * trace.traced.states  # in place of the gradients, not looked at
        run(program, values, trace.traced.forward)
        before = [values[number] for number in trace.traced.after]
        for state, after in zip(states, before, strict=True):
            state[t] = after
    trace.x, trace.initial, trace.states = x, [np.asarray(state) for state in initial], states
    return states[0], states[0][-1], *states[1:]


def layer_backward(grad_output: Array, *given: object) -> tuple[object, ...]:
    """Backward through time, by the chain rule, along the trace that `layer` has left."""
    trace = given[-1]
    assert isinstance(trace, GatedTrace)
    step, G = trace.traced, trace.traced.gates
    grad_last = [np.asarray(gradient) for gradient in given[: step.states]]
    weight_ih, weight_hh, bias_ih, bias_hh = trace.cell
    x, before = trace.x, trace.before
    from_x = x @ weight_ih.T + bias_ih
    from_h = before[0] @ weight_hh.T + bias_hh
    trace.grad_states = [np.empty_like(state) for state in trace.states]
    trace.grad_input, trace.grad_state = np.empty_like(from_x), np.empty_like(from_h)
    trace.at_most = np.empty(x.shape[:2], x.dtype)
    carried = grad_last
    for t in reversed(range(len(x))):
        upstream = [carried[0] + grad_output[t], *carried[1:]]
        values = [*gates(from_x[t], G), *gates(from_h[t], G), *(state[t] for state in before)]
        values += upstream
        run(step.program, values)
        trace.at_most[t] = np.max([np.abs(value).max(axis=1) for value in values], axis=0)
        for kept, gradient in zip(trace.grad_states, upstream, strict=True):
            kept[t] = gradient
        trace.grad_input[t] = np.concatenate([values[k] for k in step.grad_input], axis=-1)
        trace.grad_state[t] = np.concatenate([values[k] for k in step.grad_state], axis=-1)
        direct = zip(step.grad_before, upstream, strict=True)
        carried = [0 * g if k is None else values[k] for k, g in direct]
        carried[0] = carried[0] + trace.grad_state[t] @ weight_hh
    flat_x = trace.grad_input.reshape(-1, from_x.shape[2])
    flat_h = trace.grad_state.reshape(-1, from_h.shape[2])
    of_cell = Cell(
        flat_x.T @ x.reshape(len(flat_x), -1),
        flat_h.T @ before[0].reshape(len(flat_h), -1),
        flat_x.sum(axis=0),
        flat_h.sum(axis=0),
    )
    return trace.grad_input @ weight_ih, *carried, of_cell
