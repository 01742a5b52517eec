"""A layer whose every step is seen, and a network run with something read from elsewhere."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnparity.cells import recurrence
from rnnparity.cells.config import Cell
from rnnparity.cells.network import in_cell_order
from rnnparity.cells.operations import run as run_program
from rnnparity.cells.recurrence import Trace, traced_step
from rnnparity.judging.difference import z_scores
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.reference import Reference
from rnnparity.problems.setup import Setup
from rnnparity.types import Array

# How many rows are looked at.
ROWS = 4


@dataclass(frozen=True)
class Layer:
    """One layer in one direction, in the order of its own steps: what it was given and made.

    Attributes:
        kind: "rnn", "gru" or "lstm".
        nonlinearity: of a plain RNN.
        trace: the truth.
        found: what it returned, `[T, R, H]`.
        wrong: where that is beyond the limit, `[T, R, H]`.
        limit: how far a right state may be off at a step, `[T]`.
        lengths: `[R]`, or None.
    """

    kind: str
    nonlinearity: str
    trace: Trace
    found: Array
    wrong: Array
    limit: Array
    lengths: Array | None

    @property
    def start(self) -> int:
        """The first wrong step."""
        return int(np.flatnonzero(self.wrong.any(axis=(1, 2)))[0])

    def before(self, t: int) -> list[Array]:
        """Return the true states before a step, `[R, H]` each."""
        first = getattr(self.trace, "initial", [self.trace.h0])
        return [state[t - 1] if t else h for h, state in zip(first, self.trace.states, strict=True)]

    def from_x(self, x: Array) -> Array:
        """Return what an input brings to every gate, `[..., G * H]`."""
        product = x.reshape(-1, x.shape[-1]) @ self.trace.cell.weight_ih.T
        return np.asarray(product.reshape(*x.shape[:-1], -1) + self.trace.cell.bias_ih)

    def from_h(self, h: Array) -> Array:
        """Return what a state brings to every gate, `[..., G * H]`."""
        return np.asarray(h @ self.trace.cell.weight_hh.T + self.trace.cell.bias_hh)

    def after(self, from_x: Array, from_h: Array, before: list[Array]) -> list[Array]:
        """Return the states after a step, `[..., H]`, given those before, and either product."""
        step = self.trace.step
        shape = np.broadcast_shapes(from_x.shape, from_h.shape)
        both = (np.broadcast_to(product, shape) for product in (from_x, from_h))
        values = [gate for product in both for gate in np.split(product, step.gates, -1)]
        states = [np.broadcast_to(state, values[0].shape) for state in before]
        values += [*states, *[states[0]] * step.states]  # in place of gradients, not looked at
        run_program(step.program, values, step.forward)
        return [values[number] for number in step.after]


def layers(found: Array, reference: Reference) -> Iterator[Layer]:
    """Yield both directions of a single layer, as far as anything is wrong there.

    Args:
        found: the output, time-major, the judged rows.
        reference: of the case.
    """
    true, config = reference.true, reference.true.config
    wrong = z_scores(found, "output", reference) > LIMIT
    found = found.astype(true.values["output"].dtype)
    unit = np.where(reference.judged["output"], reference.units["output"], 0)
    for d, trace in enumerate(true.traces):
        own = slice(d * config.hidden_size, (d + 1) * config.hidden_size)
        made, off, units = (
            in_cell_order(a[:, :, own], true.lengths, d == 1) for a in (found, wrong, unit)
        )
        limit = LIMIT * units.max(axis=(1, 2))
        if off.any():
            yield Layer(config.kind, config.nonlinearity, trace, made, off, limit, true.lengths)


def run(
    s: Setup,
    read: Callable[[Array], Array] | None = None,
    change: Callable[[Cell], Cell] | None = None,
    carry: Callable[[int, Array, Array], Array] | None = None,
) -> tuple[Array, Any]:
    """Run a network in which something is read from elsewhere.

    Args:
        s: the network.
        read: what a layer reads, given its input, `[T, B, I]`.
        change: the parameters, given the right ones.
        carry: what a step reads, given its number, a state before it, `[B, H]`, and the first one.
    """
    step, one = traced_step(s.config), recurrence.layer
    cells = [Trace(change(cell) if change else cell, step) for cell in s.cells]

    def layer(x: Array, *given: Any) -> Any:
        x = read(x) if read else x
        if not carry:
            return one(x, *given)
        count = len(s.config.states)
        first, made = list(given[:count]), []
        states = first
        for t, x_t in enumerate(x):
            before = [carry(t, *pair) for pair in zip(states, first, strict=True)]
            _, *after = one(x_t[None], *before, *given[count:])
            states = [state.reshape(first[0].shape) for state in after]
            made.append(states)
        every = [np.stack(state) for state in zip(*made, strict=True)]
        return every[0], every[0][-1], *every[1:]

    return s.replace(cells=cells).run(layer)
