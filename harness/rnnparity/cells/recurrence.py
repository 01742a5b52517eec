"""One layer in one direction, forward and backward, of any kind, by its traced step.

Written as the formula is, in whatever precision it is given: the definition, not an optimisation.
What it saw on the way is kept, for the model of rounding to go along it.
"""

from dataclasses import dataclass, field

import numpy as np

from rnnparity.cells import elman, gru, lstm
from rnnparity.cells.config import Cell, RNNConfig
from rnnparity.cells.operations import run
from rnnparity.cells.step import Step, Traced, split, traced
from rnnparity.types import Array

# By kind, and of the plain RNN by nonlinearity.
STEPS: dict[str, Step] = {
    "tanh": elman.tanh_step,
    "relu": elman.relu_step,
    "gru": gru.step,
    "lstm": lstm.step,
}


def traced_step(config: RNNConfig, step: Step | None = None) -> Traced:
    """Return the step of a configuration as a program, or another step in its place."""
    name = config.nonlinearity if config.kind == "rnn" else config.kind
    return traced(step or STEPS[name], config.num_gates, len(config.states))


def _nothing() -> Array:
    return np.empty(0)


@dataclass
class Trace:
    """One layer in one direction: what it was given, and what came of it, forward and backward.

    Attributes:
        cell: its parameters.
        step: its step as a program.
        x: `[T, B, I]`.
        initial: each initial state, `[B, H]`.
        states: each state after every step, `[T, B, H]`; the first is the output.
        grad_states: the gradient of each of these, `[T, B, H]`.
        grad_input: of the input's part of all gates, `[T, B, G * H]`.
        grad_state: of the state's part of all gates, `[T, B, G * H]`.
    """

    cell: Cell
    step: Traced
    x: Array = field(default_factory=_nothing)
    initial: list[Array] = field(default_factory=list)
    states: list[Array] = field(default_factory=list)
    grad_states: list[Array] = field(default_factory=list)
    grad_input: Array = field(default_factory=_nothing)
    grad_state: Array = field(default_factory=_nothing)

    @property
    def h0(self) -> Array:
        """The initial h, `[B, H]`."""
        return self.initial[0]

    @property
    def output(self) -> Array:
        """H after every step, `[T, B, H]`."""
        return self.states[0]

    @property
    def before(self) -> list[Array]:
        """Each state before every step, `[T, B, H]`."""
        return [
            np.concatenate((first[None], after[:-1]))
            for first, after in zip(self.initial, self.states, strict=True)
        ]

    def parts(self, before: list[Array]) -> list[Array]:
        """Return what the input and the state before bring to each gate, and the states before."""
        weight_ih, weight_hh, bias_ih, bias_hh = self.cell
        from_x, from_h = self.x @ weight_ih.T + bias_ih, before[0] @ weight_hh.T + bias_hh
        return [*split(from_x, self.step.gates), *split(from_h, self.step.gates), *before]

    def values(self) -> list[Array]:
        """Return all values of the program, its gradients included, at every step, `[T, B, H]`."""
        found = self.parts(self.before) + self.grad_states
        run(self.step.program, found)
        return found


def arguments(given: tuple[object, ...], kind: type) -> tuple[list[Array], object]:
    """Part a layer's arguments after x into the arrays, and the trace that comes after them.

    A plain RNN's layer is given its nonlinearity besides, which the trace has.
    """
    place = next(k for k, each in enumerate(given) if isinstance(each, kind))
    return [np.asarray(each) for each in given[:place]], given[place]


def layer(x: Array, *given: object) -> tuple[Array, ...]:
    """Run a layer: `(x, h0, trace)`, of an LSTM `(x, h0, c0, trace)`.

    Returns:
        The output `[T, B, H]`, h_n `[B, H]`, and of an LSTM c at every step, `[T, B, H]`.
    """
    before, trace = arguments(given, Trace)
    assert isinstance(trace, Trace)
    step, G = trace.step, trace.step.gates
    weight_ih, weight_hh, bias_ih, bias_hh = trace.cell
    from_x = x @ weight_ih.T + bias_ih
    trace.x, trace.initial = x, before
    trace.states = [np.empty((*x.shape[:2], before[0].shape[1]), x.dtype) for _ in before]
    for t in range(len(x)):
        from_h = before[0] @ weight_hh.T + bias_hh
        values = [*split(from_x[t], G), *split(from_h, G), *before]
        values += [before[0]] * step.states  # in place of the gradients, not looked at
        run(step.program, values, step.forward)
        before = [values[number] for number in step.after]
        for state, after in zip(trace.states, before, strict=True):
            state[t] = after
    output, *others = trace.states
    return output, output[-1], *others


def layer_backward(grad_output: Array, *given: object) -> tuple[object, ...]:
    """Backward through time, by the chain rule, along the trace that `layer` has left.

    Args:
        grad_output: `[T, B, H]`.
        *given: the gradient of each last state, `[B, H]`, and what `layer` was given and returned.

    Returns:
        The gradient of x, of each initial state, and of the cell.
    """
    arrays, trace = arguments(given, Trace)
    assert isinstance(trace, Trace)
    step = trace.step
    carried = arrays[: step.states]
    weight_ih, weight_hh, _, _ = trace.cell
    T, B = trace.x.shape[:2]
    before = trace.before
    known = trace.parts(before)
    trace.grad_states = [np.empty_like(state) for state in trace.states]
    trace.grad_input = np.empty((T, B, len(weight_hh)), trace.x.dtype)
    trace.grad_state = np.empty_like(trace.grad_input)
    for t in reversed(range(T)):
        upstream = [carried[0] + grad_output[t], *carried[1:]]
        values = [value[t] for value in known] + upstream
        run(step.program, values)
        for kept, gradient in zip(trace.grad_states, upstream, strict=True):
            kept[t] = gradient
        trace.grad_input[t] = np.concatenate([values[k] for k in step.grad_input], axis=-1)
        trace.grad_state[t] = np.concatenate([values[k] for k in step.grad_state], axis=-1)
        direct = zip(step.grad_before, upstream, strict=True)
        carried = [0 * g if k is None else values[k] for k, g in direct]
        carried[0] = carried[0] + trace.grad_state[t] @ weight_hh
    flat_x, flat_h = (a.reshape(T * B, -1) for a in (trace.grad_input, trace.grad_state))
    of_cell = Cell(
        flat_x.T @ trace.x.reshape(T * B, -1),
        flat_h.T @ before[0].reshape(T * B, -1),
        flat_x.sum(axis=0),
        flat_h.sum(axis=0),
    )
    return trace.grad_input @ weight_ih, *carried, of_cell
