"""A `Way`: what is done differently, and in which cases."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np

from rnnparity.cells.config import KINDS, Cell
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import is_16_bit
from rnnparity.selftest.right_ways import gates, gradients, nonlinearities, steps, sums
from rnnparity.selftest.right_ways.work import Work
from rnnparity.types import Array

# What a loop over terms may cost, so that no way takes longer than about a second: turns of the
# loop, and multiplications.
TURNS, PRODUCTS = 6e4, 5e7


@dataclass(frozen=True)
class Way:
    """A right way to compute the recurrence, and what it stands for.

    Attributes:
        name: what is done, as it reads after "a right implementation with ...".
        stands_for: who does it so.
        order: in which the terms of products are added up.
        step: how products and biases meet.
        each_gate: whether every gate has products of its own.
        tanh: on the accumulator's dtype; its result is rounded.
        off: in which direction tanh is then moved, up to the largest error that is right: 1, away
            from zero; -1, towards it.
        slope: the derivative of tanh.
        logistic: the logistic function, as `tanh`.
        logistic_off: in which direction it is then moved, as `off`.
        logistic_slope: its derivative.
        update: how a GRU's state is made of the one before and the candidate, and its gradients.
        fuses: which product of a sum of two, or of a product and a term, is not rounded by itself.
        onto: whether the carried gradient is accumulated onto what passes by the gates.
        weights: how gradients of weights are added up.
        rounds: what of a 16-bit computation is rounded: every result, what is a product's factor
            (states, gradients), or only what is returned.
        every: with "output", the states are rounded after so many steps, too.
        again: an order in which states and gates are computed again for the backward pass.
        flushes: whether subnormal numbers are flushed to zero.
        kinds: of layers in which it is another way.
        needs: a library that it calls.
    """

    name: str
    stands_for: str
    order: sums.Sum = sums.BLAS
    step: Callable[[Work, Array, Cell], steps.Step] = steps.biases_first
    each_gate: bool = False
    tanh: nonlinearities.Function = np.tanh
    off: int = 0
    slope: nonlinearities.Slope = nonlinearities.one_minus_square
    logistic: nonlinearities.Logistic = nonlinearities.logistic
    logistic_off: int = 0
    logistic_slope: nonlinearities.Slope = nonlinearities.product_with_rest
    update: gates.Update = gates.INTERPOLATED
    fuses: Literal["neither", "first", "second"] = "neither"
    onto: bool = False
    weights: gradients.Weights = gradients.all_at_once
    rounds: Literal["results", "factors", "output"] = "results"
    every: int | None = None
    again: sums.Sum | None = None
    flushes: bool = False
    kinds: tuple[str, ...] = tuple(KINDS)
    needs: str | None = None

    @property
    def is_extreme(self) -> bool:
        """Whether it errs as far as is right, on purpose."""
        return bool(self.off or self.logistic_off)

    def applies(self, case: Case) -> bool:
        """Return whether it is another way in this case, possible here, and affordable."""
        config = case.config
        if config.kind not in self.kinds:
            return False
        if self.rounds != "results" and not is_16_bit(case.dtype):
            return False
        of_tanh = self.tanh is not np.tanh or self.off
        of_tanh = of_tanh or self.slope is not nonlinearities.one_minus_square
        if of_tanh and config.nonlinearity != "tanh":
            return False
        if self.needs is not None and find_spec(self.needs) is None:
            return False
        width = (config.input_size + config.hidden_size) * config.num_cells * config.num_gates
        products = case.T * (case.B or 1) * width * config.hidden_size
        looped = [s for s in (self.order, self.again) if s is not None and s.at_once is not None]
        return all(
            case.T * width <= TURNS * (s.at_once or 1) and products * s.dear <= PRODUCTS
            for s in looped
        )
