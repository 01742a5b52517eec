"""A `Way`, its `Kernel` (a layer forward and backward), and what comes of a case computed so."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import ml_dtypes
import numpy as np

from rnnparity.cells import network
from rnnparity.cells.config import Cell
from rnnparity.implementations.outcome import Outcome
from rnnparity.judging.unit.arithmetic import TANH_ULP
from rnnparity.problems.arrays import Problem
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import numpy_dtype, spacing
from rnnparity.problems.quantities import of_weights, time_major
from rnnparity.problems.setup import Setup, setup
from rnnparity.selftest.right_ways import nonlinearities, steps, sums
from rnnparity.types import Array

Slope = Callable[[Array, Array | None, Callable[[Array], Array]], Array]
Weights = Callable[["Kernel", Array, Array], Array]

# What a loop over terms may cost, so that no way takes longer than about a second: turns of the
# loop, and multiplications.
TURNS, PRODUCTS = 6e4, 5e7


def all_at_once(work: "Kernel", grad_a: Array, factor: Array) -> Array:
    """Add up the gradient of a weight in one product over steps and rows."""
    H, n = grad_a.shape[2], factor.shape[2]
    return work.dot(grad_a.reshape(-1, H).T, factor.reshape(-1, n))


def row_by_row(work: "Kernel", grad_a: Array, factor: Array) -> Array:
    """The same, sequence after sequence."""
    return all_at_once(
        work,
        np.ascontiguousarray(grad_a.swapaxes(0, 1)),
        np.ascontiguousarray(factor.swapaxes(0, 1)),
    )


def in_chunks(length: int, *, wide: bool = False) -> Weights:
    """So many steps at a time, the last first; their sum is kept in the dtype, or wider."""

    def add(work: "Kernel", grad_a: Array, factor: Array) -> Array:
        total = np.zeros((grad_a.shape[2], factor.shape[2]), grad_a.dtype)
        for first in reversed(range(0, len(grad_a), length)):
            part = slice(first, first + length)
            if wide:
                a, b = (v[part].reshape(-1, v.shape[2]) for v in (grad_a, factor))
                total = work.unrounded(a.T, b, total)
            else:
                total = work.round(total + all_at_once(work, grad_a[part], factor[part]))
        return total

    return add


@dataclass(frozen=True)
class Way:
    """A right way to compute the recurrence, and what it stands for.

    Attributes:
        name: what is done, as it reads after "a right implementation with ...".
        stands_for: who does it so.
        order: in which the terms of products are added up.
        step: how products and biases meet.
        tanh: on the accumulator's dtype; its result is rounded.
        off: in which direction tanh is then moved, up to the largest error that is right: 1, away
            from zero; -1, towards it.
        slope: the derivative of tanh.
        from_a: whether the slope needs pre-activations: they are made again.
        weights: how gradients of weights are added up.
        rounds: what of a 16-bit computation is rounded: every result, what is a product's factor
            (states, gradients), or only what is returned.
        every: with "output", the state is rounded after so many steps, too.
        again: an order in which the states are computed again for the backward pass.
        flushes: whether subnormal numbers are flushed to zero.
    """

    name: str
    stands_for: str
    order: sums.Sum = sums.BLAS
    step: Callable[[steps.Work, Array, Cell], steps.Step] = steps.biases_first
    tanh: nonlinearities.Function = np.tanh
    off: int = 0
    slope: Slope = nonlinearities.one_minus_square
    from_a: bool = False
    weights: Weights = all_at_once
    rounds: Literal["results", "factors", "output"] = "results"
    every: int | None = None
    again: sums.Sum | None = None
    flushes: bool = False

    def applies(self, case: Case) -> bool:
        """Return whether it is another way in this case, and affordable."""
        config = case.config
        if self.rounds != "results" and case.dtype in ("float32", "float64"):
            return False
        of_tanh = self.tanh is not np.tanh or self.off
        of_tanh = of_tanh or self.slope is not nonlinearities.one_minus_square
        if of_tanh and config.nonlinearity != "tanh":
            return False
        width = (config.input_size + config.hidden_size) * config.num_cells
        products = case.T * (case.B or 1) * width * config.hidden_size
        looped = [s for s in (self.order, self.again) if s is not None and s.at_once is not None]
        return all(
            case.T * width <= TURNS * (s.at_once or 1) and products * s.dear <= PRODUCTS
            for s in looped
        )


@dataclass(frozen=True)
class Kernel:
    """A way's arithmetic in a dtype. Values are held in the accumulator's dtype throughout."""

    way: Way
    dtype: str
    kept: np.dtype[Any] = field(init=False)
    wide: np.dtype[Any] = field(init=False)
    normal: float = field(init=False)

    def __post_init__(self) -> None:
        """Find the formats."""
        kept = numpy_dtype(self.dtype)
        wide = np.dtype(np.float64 if self.dtype == "float64" else np.float32)
        object.__setattr__(self, "kept", kept)
        object.__setattr__(self, "wide", wide)
        object.__setattr__(self, "normal", float(ml_dtypes.finfo(wide).smallest_normal))

    def up(self, values: Array) -> Array:
        """Return an argument as it is computed with."""
        return self._flush(values.astype(self.wide))

    def down(self, values: Array) -> Array:
        """Return a result as it is returned."""
        return values.astype(self.kept)

    def to_kept(self, values: Array) -> Array:
        """Round to the dtype."""
        if self.kept == self.wide:
            return self._flush(values)
        return self._flush(values.astype(self.kept).astype(self.wide))

    def round(self, values: Array) -> Array:
        """Round a result, where results are rounded."""
        return self.to_kept(values) if self.way.rounds == "results" else values

    def factor(self, values: Array) -> Array:
        """Round what goes into the next product, where that is."""
        return values if self.way.rounds == "output" else self.to_kept(values)

    def unrounded(self, a: Array, b: Array, onto: Array | None = None) -> Array:
        """Return `onto + a @ b` as the accumulator has it."""
        return self._flush(self.way.order.adds(a, b, onto))

    def dot(self, a: Array, b: Array, onto: Array | None = None) -> Array:
        """Return `onto + a @ b`, rounded once."""
        return self.round(self.unrounded(a, b, onto))

    def tanh(self, a: Array) -> Array:
        """The nonlinearity, wrong by some units in the last place if the way says so."""
        h = self.way.tanh(a)
        if not self.way.off:
            return h
        # With the rounding that follows, by at most the largest error: of the exact value's units,
        # which are half as large below a power of two as above it.
        exact = np.tanh(np.asarray(a, np.float64))
        halves = nonlinearities.digest(a, 2 * int(TANH_ULP[self.dtype])) * (self.way.off / 2)
        moved = np.abs(exact) + halves * spacing(exact, self.dtype)
        return self.to_kept(np.copysign(np.clip(moved, 0, 1), exact).astype(h.dtype))

    def _flush(self, values: Array) -> Array:
        if not self.way.flushes:
            return values
        return np.where(np.abs(values) < self.normal, values.dtype.type(0), values)

    def forward(self, x: Array, h: Array, cell: Cell, nonlinearity: str) -> Array:
        """Return the states `[T, B, H]` that a layer goes through."""
        step, every = self.way.step(self, x, cell), self.way.every
        states = np.empty((*x.shape[:2], h.shape[1]), x.dtype)
        for t in range(len(x)):
            a = step(t, h)
            h = self.factor(self.tanh(a) if nonlinearity == "tanh" else np.maximum(a, 0))
            states[t] = h
            if every and (t + 1) % every == 0:
                h = self.to_kept(h)
        return states

    def backward(
        self,
        grad_output: Array,
        grad_h: Array,
        x: Array,
        h0: Array,
        states: Array,
        cell: Cell,
        nonlinearity: str,
    ) -> tuple[Array, Array, Cell]:
        """Return the gradients of x, h0 and the parameters."""
        way = self.way
        before = np.concatenate((h0[None], states[:-1]))
        pre: list[Array | None] = [None] * len(x)
        if way.from_a and nonlinearity == "tanh":
            step = way.step(self, x, cell)
            pre = [step(t, before[t]) for t in range(len(x))]
        grad_a = np.empty_like(states)
        for t in reversed(range(len(x))):
            grad_h = self.round(grad_output[t] + grad_h)
            if nonlinearity == "tanh":
                slope = way.slope(states[t], pre[t], self.round)
                grad_a[t] = self.factor(self.round(grad_h * slope))
            else:
                grad_a[t] = np.where(states[t] > 0, grad_h, 0)
            grad_h = self.dot(grad_a[t], cell.weight_hh)
        of_bias = way.weights(self, grad_a, np.ones((*x.shape[:2], 1), x.dtype))[:, 0]
        of_cell = Cell(
            way.weights(self, grad_a, x), way.weights(self, grad_a, before), of_bias, of_bias
        )
        T, B, I = x.shape
        of_x = self.dot(grad_a.reshape(T * B, -1), cell.weight_ih).reshape(T, B, I)
        return of_x, grad_h, of_cell


def outcome(way: Way, case: Case, problem: Problem) -> Outcome:
    """Return what a right implementation of this way returns, as a worker would."""
    work = Kernel(way, case.dtype)
    given = setup(case, problem, numpy_dtype(case.dtype), rows=np.arange(case.B or 1))

    def layer(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
        wide = Cell(*map(work.up, cell))
        output = work.down(work.forward(work.up(x), work.up(h0), wide, nonlinearity))
        return output, output[-1]

    def layer_backward(
        grad_output: Array,
        grad_h_n: Array,
        x: Array,
        h0: Array,
        output: Array,
        cell: Any,
        nonlinearity: str,
    ) -> tuple[Array, Array, Cell]:
        wide = Cell(*map(work.up, cell))
        x, h0, states = work.up(x), work.up(h0), work.up(output)
        if way.again is not None:
            other = Kernel(replace(way, order=way.again), case.dtype)
            states = other.forward(x, h0, wide, nonlinearity)
        of_x, of_h0, of_cell = work.backward(
            work.up(grad_output), work.up(grad_h_n), x, h0, states, wide, nonlinearity
        )
        return work.down(of_x), work.down(of_h0), Cell(*map(work.down, of_cell))

    tape: list[network.Call] = []

    def run(part: Setup) -> tuple[Array, Array]:
        return part.run(layer, None if tape else tape)

    with np.errstate(all="ignore"):
        arrays = given.forward(run) | given.backward(layer_backward, tape)
    return Outcome({name: _laid_out(case, name, a) for name, a in arrays.items()})


def _laid_out(case: Case, name: str, array: Array) -> Array:
    """Return a quantity laid out as the case says."""
    one = case.B is None and not of_weights(name)
    return array[:, 0] if one else time_major(case, name, array)
