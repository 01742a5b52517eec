"""In which precision float32 matrix products really ran, told by what they made.

A step that starts from given bits is predicted under every hypothesis: both operands of a product
rounded to a format, in each way that hardware rounds. Only one that predicts every element to
within float32's own rounding is believed, and only where all others are seen to be off. Noise, a
wrong factor and a wrong weight make errors of the same size, but not these.

Looked at are the first step of the case itself, since libraries choose a precision by size, and of
a canary for the cases that do not tell: one weight per row, so that of a plain RNN behind relu (or
tanh near zero, where it is the identity) nothing is left but two products and their sum.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from rnnparity.cells.config import Cell, RNNConfig, cells
from rnnparity.cells.operations import run
from rnnparity.cells.recurrence import traced_step
from rnnparity.cells.step import split
from rnnparity.problems.arrays import Problem
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import numpy_dtype
from rnnparity.problems.quantities import time_major
from rnnparity.types import Array

# Significant bits and the least exponent of a normal number: float16 has as many bits as TF32, but
# is subnormal where TF32 is not; and half of the canary's inputs are that small.
FORMATS = {"tf32": (11, -126), "float16": (11, -14), "bfloat16": (8, -126)}
BY_PRECISION = ("float32", *FORMATS)

# What a float32 sum may be off by where operands are as given, as a share of the sum of absolute
# products: twenty deviations of a sum of many terms of random signs, and more than all roundings of
# two products. Rounding to 11 bits makes errors of thousands, of many terms of hundreds. Terms of
# one sign may err by more; then nothing is said.
ALLOWED = 8 * 2.0**-24

# The same for tanh and the logistic function, as a share of what they are multiplied by.
OF_FUNCTIONS = 16 * 2.0**-24

# How far a gate is moved to see what it moves.
MOVED = 2.0**-10

# The same where all of a step is computed in eight bits, as a share of its largest sum.
NEAR = 16 * 2.0**-8

# Elements at which a hypothesis must be off not to be in question any more: a chance is none.
ENOUGH = 16

# Rows of a batch, and units of each, that are looked at.
ROWS, UNITS = 16, 64


class Hypothesis(NamedTuple):
    """How the operands of one of the two products were rounded."""

    name: str
    round: Callable[[Array], Array]


def case(nonlinearity: str, kind: str = "rnn") -> Case:
    """Return the case whose output tells."""
    config = RNNConfig(input_size=64, hidden_size=64, nonlinearity=nonlinearity, kind=kind)
    return Case(config=config, T=1, B=16, regime="canary")


def is_coarser(precision: str | None, than: str) -> bool:
    """Return whether products in a precision may be rounded more than in another."""
    finest = BY_PRECISION.index
    return precision is not None and finest(precision) > finest(than)


def precision_of(output: Array | None, problem: Problem, case: Case) -> str | None:
    """Return "float32", "tf32", "float16" or "bfloat16"; None if nothing tells.

    If the two products ran in different precisions, the lower one counts. Several layers do not
    tell, since only the last one's output is seen.

    Args:
        output: what was returned, laid out as the case says.
        problem: its arrays.
        case: what was run.
    """
    if output is None or case.dtype != "float32" or case.config.num_layers > 1 or not case.T:
        return None
    given = _Given(case, problem)
    found = given.part_of(output)
    hypotheses = list(_hypotheses())
    from_state = [(h.name, given.from_state(h.round)) for h in hypotheses]
    names, believed = set(), False
    with np.errstate(all="ignore"):
        allowed = given.allowed()
        for first in hypotheses:
            from_input = given.from_input(first.round)
            for second, state in from_state:
                off = ~(np.abs(found - given.step(from_input, state)) <= allowed)
                if off.sum() < ENOUGH:
                    names.add(max(first.name, second, key=BY_PRECISION.index))
                    believed |= not off.any()
    return names.pop() if believed and len(names) == 1 else None


def computed_in(output: Array, problem: Problem, case: Case) -> str | None:
    """Return "bfloat16" or "float16" where all was computed in it, not the products alone.

    Then every value is a number of that format, near the truth, and further from it than rounding
    the result alone makes it.

    Args:
        output: of the canary, which `precision_of` says nothing of.
        problem: its arrays.
        case: the canary.
    """
    name = numbers_of(output)
    if name is None:
        return None
    given, (as_given, *_) = _Given(case, problem), _hypotheses()
    found = given.part_of(output)
    true = given.step(given.from_input(as_given.round), given.from_state(as_given.round))
    off, allowed = np.abs(found - true), given.allowed()
    alone = 2.0 ** (1 - FORMATS[name][0]) * np.abs(true) + allowed
    near = (off <= NEAR * given.sizes().max()).all()
    return name if near and (off > alone).any() else None


def numbers_of(output: Array) -> str | None:
    """Return the coarser format that all values of a float32 array are numbers of, if they are."""
    values = output[np.isfinite(output) & (output != 0) & (np.abs(output) != 1)]
    if len(np.unique(values)) < ENOUGH:
        return None
    with np.errstate(all="ignore"):
        for name in ("bfloat16", "float16"):  # the coarsest first
            if (values.astype(numpy_dtype(name)).astype(values.dtype) == values).all():
                return name
    return None


class _Given:
    """What some rows and units of the first step of a case are given, and what becomes of it."""

    def __init__(self, case: Case, problem: Problem) -> None:
        self._case, self._rows, config = case, problem.rows[:ROWS], case.config
        self._traced, H = traced_step(config), config.hidden_size
        self._units = np.unique(np.linspace(0, H - 1, UNITS).astype(int))
        of_gates = (np.arange(self._traced.gates)[:, None] * H + self._units).ravel()
        self._cell = Cell(*(a[of_gates] for a in cells(problem.weights, config)[0]))
        self._x = time_major(case, "x", problem.x)[0, self._rows].astype(np.float64)
        states = [
            np.zeros((len(self._rows), H))
            if state is None
            else time_major(case, "h0", state)[0, self._rows].astype(np.float64)
            for state in (problem.h0, problem.c0)[: len(config.states)]
        ]
        self._h, self._before = states[0], [state[:, self._units] for state in states]

    def part_of(self, output: Array) -> Array:
        """Return the same rows and units of what was returned, in float64, `[B, H]`."""
        part = time_major(self._case, "output", output)[0, self._rows][:, self._units]
        found: Array = part.astype(np.float64)
        return found

    def from_input(self, rounded: Callable[[Array], Array]) -> Array:
        """Return what the input brings to all gates, `[B, G * H]`."""
        product = _product(rounded(self._x), rounded(self._cell.weight_ih))
        return np.asarray(product + self._cell.bias_ih)

    def from_state(self, rounded: Callable[[Array], Array]) -> Array:
        """Return what the state brings to all gates, `[B, G * H]`."""
        product = _product(rounded(self._h), rounded(self._cell.weight_hh))
        return np.asarray(product + self._cell.bias_hh)

    def step(self, from_input: Array, from_state: Array) -> Array:
        """Return the output, `[B, H]`."""
        gates = self._traced.gates
        values = [*split(from_input, gates), *split(from_state, gates), *self._before]
        values += [self._before[0]] * self._traced.states  # for gradients, not looked at
        run(self._traced.program, values, self._traced.forward)
        return values[self._traced.after[0]]

    def sizes(self) -> Array:
        """Return the sums of absolute products of all gates, biases included, `[B, G * H]`."""
        cell = Cell(*map(np.abs, self._cell))
        sums = _product(np.abs(self._x), cell.weight_ih) + cell.bias_ih
        return np.asarray(sums + _product(np.abs(self._h), cell.weight_hh) + cell.bias_hh)

    def allowed(self) -> Array:
        """Return what float32 may be off by, `[B, H]`."""
        sizes, gates = self.sizes(), self._traced.gates
        if gates == 1:
            of_tanh = OF_FUNCTIONS if self._case.config.nonlinearity == "tanh" else 0.0
            return (ALLOWED + of_tanh) * sizes + 2.0**-126
        x, h = self.from_input(np.asarray), self.from_state(np.asarray)
        true, moved = self.step(x, h), []
        for k, size in enumerate(split(sizes, gates)):
            each = [np.zeros_like(size)] * gates
            each[k] = np.full_like(size, MOVED)
            by = np.concatenate(each, axis=-1)
            # What the state brings to a gate may be weighed by another gate: by 1 at the most.
            moved.append(np.abs(self.step(x + by, h) - true) / MOVED * size)
        factors = np.minimum(1, np.max(split(sizes, gates), axis=0)) + np.abs(self._before).sum(0)
        return np.asarray(ALLOWED * np.sum(moved, axis=0) + OF_FUNCTIONS * factors + 2.0**-126)


def _product(a: Array, b: Array) -> Array:
    product: Array = a.astype(np.float64) @ b.astype(np.float64).T
    return product


def _hypotheses() -> Iterator[Hypothesis]:
    yield Hypothesis("float32", lambda a: a.astype(np.float64))
    for name, (bits, least) in FORMATS.items():
        for way in (np.rint, np.trunc, _half_away):
            yield Hypothesis(name, partial(_rounded, bits=bits, least=least, way=way))


def _rounded(array: Array, *, bits: int, least: int, way: Callable[[Array], Array]) -> Array:
    """Round to a format: to nearest with ties to even or away from zero, or cut off."""
    wide = array.astype(np.float64)
    _, exponent = np.frexp(wide)
    step = np.maximum(exponent, least + 1) - bits
    rounded: Array = np.ldexp(way(np.ldexp(wide, -step)), step)
    return rounded


def _half_away(a: Array) -> Array:
    away: Array = np.trunc(a + np.copysign(0.5, a))
    return away
