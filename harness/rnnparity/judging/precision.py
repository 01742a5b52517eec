"""The precision canary: in which precision float32 matrix products really ran.

One weight per row, and relu (or tanh near zero, where it is the identity), leave nothing but two
products and their sum. Every hypothesis is made: both operands of a product rounded to a format, in
each way that hardware rounds. Only one that predicts every element to within float32's own rounding
is believed. Noise, a wrong factor and a wrong weight make errors of the same size, but not these.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from rnnparity.cells.config import Cell, RNNConfig, cells
from rnnparity.problems.arrays import Problem
from rnnparity.problems.cases import Case
from rnnparity.types import Array

# Significant bits and the least exponent of a normal number: float16 has as many bits as TF32, but
# is subnormal where TF32 is not; and half of the canary's inputs are that small.
FORMATS = {"tf32": (11, -126), "float16": (11, -14), "bfloat16": (8, -126)}
BY_PRECISION = ("float32", *FORMATS)

# What float32 may be off by where operands are as given, as a share of the sum of absolute
# products: two products, their sum, and tanh's own error (up to 5 units in the last place), sixteen
# unit roundoffs in all. Rounding to 11 bits makes errors of thousands.
ALLOWED = 16 * 2.0**-24


class Hypothesis(NamedTuple):
    """How the operands of one of the two products were rounded."""

    name: str
    round: Callable[[Array], Array]


def case(nonlinearity: str) -> Case:
    """Return the case whose output tells."""
    config = RNNConfig(input_size=64, hidden_size=64, nonlinearity=nonlinearity)
    return Case(config=config, T=1, B=16, regime="canary")


def precision_of(found: Array, problem: Problem, config: RNNConfig) -> str | None:
    """Return "float32", "tf32", "float16" or "bfloat16"; None if it is the signature of none.

    If the two products ran in different precisions, the lower one counts.

    Args:
        found: the output of the canary's case, `[1, B, H]`.
        problem: its arrays.
        config: its configuration.
    """
    (cell,) = cells(problem.weights, config)
    assert problem.h0 is not None
    of_input = (problem.x[0], cell.weight_ih)
    of_state = (problem.h0[0], cell.weight_hh)
    output = found[0].astype(np.float64)
    allowed = ALLOWED * (_product(*map(np.abs, of_input)) + _product(*map(np.abs, of_state)))
    allowed += 2.0**-126
    bias = np.float64(0) if not config.bias else _bias(cell)
    hypotheses = list(_hypotheses())
    of_state_by = [(h, _product(*map(h.round, of_state))) for h in hypotheses]
    matching = []
    for first in hypotheses:
        from_input = _product(*map(first.round, of_input))
        for second, from_state in of_state_by:
            a = from_input + from_state + bias
            expected = np.tanh(a) if config.nonlinearity == "tanh" else np.maximum(a, 0)
            if (np.abs(output - expected) <= allowed).all():
                matching.append(max(map(BY_PRECISION.index, (first.name, second.name))))
    return BY_PRECISION[min(matching)] if matching else None


def _bias(cell: Cell) -> Array:
    total: Array = cell.bias_ih.astype(np.float64) + cell.bias_hh
    return total


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
