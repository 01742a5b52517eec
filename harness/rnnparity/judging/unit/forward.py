"""Differences of replicas from the truth, forward: a layer along its step's program."""

from dataclasses import dataclass

import numpy as np

from rnnparity.cells.operations import run
from rnnparity.cells.recurrence import arguments
from rnnparity.cells.step import split
from rnnparity.judging.unit import errors
from rnnparity.judging.unit.differences import CHANGES, Change
from rnnparity.judging.unit.errors import Errors
from rnnparity.judging.unit.replicas import Replicas
from rnnparity.problems.arrays import REPLICAS
from rnnparity.types import Array


@dataclass
class Place:
    """An operation at its place along a trajectory."""

    number: int
    arguments: tuple[int, ...]
    change: Change
    errors: Errors | None

    def pass_on(self, t: int, d: dict[int, Array]) -> None:
        """Add the difference of what it makes at a step to those of its arguments."""
        found = self.change(t, *(d[k] for k in self.arguments))
        if self.errors is not None:
            found += self.errors.at(t)
        d[self.number] = found


def places(
    replicas: Replicas, values: list[Array], own: dict[int, Errors], first: int, last: int | None
) -> list[Place]:
    """Return a stretch of a step's operations along a trajectory.

    Args:
        replicas: that go along it.
        values: of the program at every step.
        own: the operations' errors by the numbers of their results.
        first: which instruction is the first.
        last: which one is none of them any more; None for all to the end.
    """
    program = replicas.trace.step.program
    cast = replicas.cast(*values)
    found = []
    for k, (operation, of) in enumerate(program.code[first:last], program.inputs + first):
        found.append(Place(k, of, CHANGES[operation](replicas, k, of, cast), own.get(k)))
    return found


def layer(dx: Array, *given: object) -> tuple[Array, ...]:
    """The forward layer on differences: `(dx, dh0, replicas)`, of an LSTM with dc0 after dh0.

    Args:
        dx: `[T, K * B, I]`.
        *given: each initial state's difference, `[K * B, H]`, and the replicas.

    Returns:
        Differences of the output `[T, K * B, H]`, of h_n, and of an LSTM's c at every step.
    """
    initial, replicas = arguments(given, Replicas)
    assert isinstance(replicas, Replicas)
    trace, step = replicas.trace, replicas.trace.step
    T, B, _ = trace.x.shape
    H, G, inputs = trace.h0.shape[1], step.gates, step.program.inputs
    values = trace.parts(trace.before) + trace.states  # those in place of gradients, not looked at
    run(step.program, values, step.forward)
    own, of_parts = errors.of_step(replicas, values)
    forward = places(replicas, values, own, 0, step.forward)
    code = step.program.code[step.forward :]
    used = {a for name, of in code if name != "slope of relu" for a in of}
    known = {*range(inputs - step.states), *range(inputs, inputs + step.forward)}
    shape = (T, REPLICAS, B, H)
    replicas.kept = {k: np.empty(shape, replicas.dtype) for k in used & known}
    to_input, to_hidden = replicas.cast(trace.cell.weight_ih.T, trace.cell.weight_hh.T)
    moved = bool(dx.any())

    before = [d.reshape(REPLICAS, B, H) for d in initial]
    output = [np.empty(shape, replicas.dtype) for _ in before]
    for t in range(T):
        from_x = dx[t] @ to_input if moved else np.zeros((REPLICAS * B, G * H), replicas.dtype)
        from_h = before[0].reshape(REPLICAS * B, H) @ to_hidden
        parts = [
            each.reshape(REPLICAS, B, H) for from_ in (from_x, from_h) for each in split(from_, G)
        ]
        d = dict(enumerate([*parts, *before]))
        for k, part in of_parts.items():
            d[k] = d[k] + part.at(t)
        for place in forward:
            place.pass_on(t, d)
        for k, array in replicas.kept.items():
            array[t] = d[k]
        before = [d[k] for k in step.after]
        for array, after in zip(output, before, strict=True):
            array[t] = after
    replicas.widest[:] = _widest(output, trace.states)
    flat = [array.reshape(T, REPLICAS * B, H) for array in output]
    return flat[0], flat[0][-1], *flat[1:]


def _widest(output: list[Array], states: list[Array]) -> Array:
    """Return the largest unit of h in every row, and of other states as far as it is to h's size.

    Args:
        output: differences of each state, `[T, K, B, H]`.
        states: the states, `[T, B, H]` each.

    Returns:
        `[T, B]`.
    """
    sizes = [float(np.sqrt(np.mean(np.square(state)))) for state in states]
    found = []
    for difference, size in zip(output, sizes, strict=True):
        widest = [np.mean(np.square(d, dtype=np.float64), axis=0).max(axis=1) for d in difference]
        found.append(np.sqrt(widest) * (sizes[0] / size if size and sizes[0] else 1.0))
    return np.asarray(np.max(found, axis=0))
