"""A layer forward and backward by a way's arithmetic, and what comes of a case computed so."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rnnparity.cells import network
from rnnparity.cells.config import Cell, RNNConfig
from rnnparity.implementations.outcome import Outcome
from rnnparity.problems.arrays import Problem
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import numpy_dtype
from rnnparity.problems.quantities import of_weights, time_major
from rnnparity.problems.setup import Setup, setup
from rnnparity.selftest.right_ways import gates, steps
from rnnparity.selftest.right_ways.kernel import Kernel
from rnnparity.selftest.right_ways.way import Way
from rnnparity.types import Array


@dataclass
class Pass:
    """One layer in one direction.

    Attributes:
        work: the arithmetic.
        cell: its parameters, as they are computed with.
        config: of the network.
        x: `[T, B, I]`.
        h: before every step, `[T, B, H]`.
        seen: what of every step its derivative needs.
    """

    work: Kernel
    cell: Cell
    config: RNNConfig
    x: Array = field(default_factory=lambda: np.empty(0))
    h: Array = field(default_factory=lambda: np.empty(0))
    seen: list[gates.Seen] = field(default_factory=list)

    @property
    def step(self) -> gates.Step:
        """The step of its kind, and its derivative."""
        return gates.step_of(self.config.kind, self.config.nonlinearity, self.work.way.update)

    def forward(self, x: Array, before: Sequence[Array]) -> list[Array]:
        """Return every state after every step, `[T, B, H]`; what is seen on the way is kept."""
        work, every, step = self.work, self.work.way.every, self.step.forward
        pre_activations = self._pre_activations(x)
        self.x, self.seen = x, []
        states = [np.empty((*x.shape[:2], before[0].shape[1]), x.dtype) for _ in before]
        self.h = np.empty_like(states[0])
        for t in range(len(x)):
            self.h[t] = before[0]
            after, seen = step(work, pre_activations(t, before[0]), before)
            self.seen.append(seen)
            # The others go into no product.
            after[0] = work.factor(after[0])
            for state, value in zip(states, after, strict=True):
                state[t] = value
            before = after
            if every and (t + 1) % every == 0:
                before = [work.to_kept(state) for state in after]
        return states

    def _pre_activations(self, x: Array) -> Callable[[int, Array], list[Array]]:
        """Return what makes every gate's pre-activation `[B, H]` of a step and h before it.

        A GRU's candidate has two: the reset gate multiplies the state's part alone.
        """
        work, cell, H = self.work, self.cell, self.config.hidden_size
        summed = 2 if self.config.kind == "gru" else self.config.num_gates
        together = 1 if work.way.each_gate else summed

        def rows(first: int, count: int) -> Cell:
            return Cell(*(parameter[first * H : (first + count) * H] for parameter in cell))

        makers = [work.way.step(work, x, rows(k, together)) for k in range(0, summed, together)]
        apart = None
        if self.config.kind == "gru":
            apart = steps.apart(work.way.step)(work, x, rows(2, 1))

        def made(t: int, h: Array) -> list[Array]:
            wide = [make(t, h) for make in makers]
            parts = [a[:, k * H : (k + 1) * H] for a in wide for k in range(together)]
            return parts if apart is None else [*parts, *apart(t, h)]

        return made

    def backward(
        self, grad_output: Array, upstream: Sequence[Array]
    ) -> tuple[Array, list[Array], Cell]:
        """Return the gradients of x, of the states before and of the parameters.

        Args:
            grad_output: `[T, B, H]`.
            upstream: the gradients of the states after the last step, `[B, H]`.
        """
        work, x, cell = self.work, self.x, self.cell
        step, weights = self.step.backward, work.way.weights
        of_input = np.empty((*x.shape[:2], len(cell.weight_hh)), x.dtype)
        of_state = np.empty_like(of_input)
        for t in reversed(range(len(x))):
            upstream = [work.round(grad_output[t] + upstream[0]), *upstream[1:]]
            from_input, from_state, passing, others = step(work, self.seen[t], upstream)
            of_input[t] = work.factor(np.concatenate(from_input, axis=1))
            of_state[t] = work.factor(np.concatenate(from_state, axis=1))
            upstream = [self._carried(of_state[t], passing), *others]
        T, B, I = x.shape
        one = np.ones((T, B, 1), x.dtype)
        of_cell = Cell(
            weights(work, of_input, x),
            weights(work, of_state, self.h),
            weights(work, of_input, one)[:, 0],
            weights(work, of_state, one)[:, 0],
        )
        of_x = self._by_gates(of_input.reshape(T * B, -1), cell.weight_ih).reshape(T, B, I)
        return of_x, list(upstream), of_cell

    def _carried(self, of_state: Array, passing: Array | None) -> Array:
        """Return the gradient of h before a step: through its product, and what passes by it."""
        if passing is None or self.work.way.onto:
            return self._by_gates(of_state, self.cell.weight_hh, passing)
        return self.work.round(self._by_gates(of_state, self.cell.weight_hh) + passing)

    def _by_gates(self, gradient: Array, weight: Array, onto: Array | None = None) -> Array:
        """Return `onto + gradient @ weight`, by one product or one for every gate."""
        work, H = self.work, self.config.hidden_size
        for k in range(0, len(weight) - H, H) if work.way.each_gate else ():
            onto = work.unrounded(gradient[:, k : k + H], weight[k : k + H], onto)
        rest = len(weight) - H if work.way.each_gate else 0
        return work.dot(gradient[:, rest:], weight[rest:], onto)


def outcome(way: Way, case: Case, problem: Problem) -> Outcome:
    """Return what a right implementation of this way returns, as a worker would."""
    work = Kernel(way, case.dtype)
    given = setup(case, problem, numpy_dtype(case.dtype), rows=np.arange(case.B or 1))
    count = len(case.config.states)

    def layer(x: Array, *rest: Any) -> tuple[Array, ...]:
        before, this = rest[:count], rest[count]
        states = [work.down(a) for a in this.forward(work.up(x), list(map(work.up, before)))]
        return states[0], states[0][-1], *states[1:]

    def layer_backward(grad_output: Array, *rest: Any) -> tuple[Any, ...]:
        last, before, this = rest[:count], rest[count + 1 : 2 * count + 1], rest[2 * count + 2]
        if way.again is not None:
            this = replace(this, work=Kernel(replace(way, order=way.again), case.dtype))
            this.forward(this.x, list(map(work.up, before)))
            this.work = work
        of_x, of_before, of_cell = this.backward(work.up(grad_output), list(map(work.up, last)))
        return work.down(of_x), *map(work.down, of_before), Cell(*map(work.down, of_cell))

    tape: list[network.Call] = []

    def run(part: Setup) -> tuple[Array, Any]:
        passes = [Pass(work, Cell(*map(work.up, cell)), part.config) for cell in part.cells]
        return part.replace(cells=passes).run(layer, None if tape else tape)

    with np.errstate(all="ignore"):
        arrays = given.forward(run) | given.backward(layer_backward, tape)
    return Outcome({name: _laid_out(case, name, a) for name, a in arrays.items()})


def _laid_out(case: Case, name: str, array: Array) -> Array:
    """Return a quantity laid out as the case says."""
    one = case.B is None and not of_weights(name)
    return array[:, 0] if one else time_major(case, name, array)
