"""Replicas of a network: the signs of their errors, and what is alike in them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rnnparity.judging.unit.arithmetic import Arithmetic
from rnnparity.problems.arrays import REPLICAS
from rnnparity.types import Array

# Share of an error that stays the same at every step of a sequence: near a fixed point of the
# recurrence an implementation makes nearly the same rounding errors again and again; independent
# errors alone would let them average out.
PERSISTENT = 1 / 3


class Signs:
    """A stream of random signs: the raw bits of PCG64, the same on every machine."""

    def __init__(self, seed: int, dtype: Any) -> None:
        """Start the stream."""
        self._bits, self._dtype = np.random.PCG64(seed), dtype

    def draw(self, shape: tuple[int, ...]) -> Array:
        """Return +1 and -1 with equal probability."""
        count = int(np.prod(shape))
        raw = np.asarray(self._bits.random_raw(-(-count // 64)), np.uint64).view(np.uint8)
        signs = np.unpackbits(raw, count=count).astype(self._dtype)
        signs *= 2
        signs -= 1
        return signs.reshape(shape)


@dataclass
class Noise:
    """Errors of given sizes: partly the same at every step, partly fresh."""

    signs: Signs
    persistent: Array  # [K, B, H]
    steps: list[Array]  # [B, H] each: alike computations have the same number

    def at(self, t: int, deviation: Array) -> Array:
        """Draw errors `[K, B, H]` of standard deviation `[B, H]`.

        Half of the variance is the same for what is alike: equal computations may err equally, but
        need not, at the edge of a tile, say, where a library adds up in another order.
        """
        alike = self.steps[t]
        fresh = self.signs.draw((REPLICAS, int(alike.max()) + 1))[:, alike]
        fresh += self.signs.draw(fresh.shape)
        fresh *= np.sqrt((1 - PERSISTENT**2) / 2)
        fresh += self.persistent
        fresh *= deviation
        return fresh


@dataclass
class Replicas:
    """A trace, with what the replicas' layers need to go along it.

    Attributes:
        trace: of the truth, float64.
        arithmetic: of the dtype under test.
        signs: of the errors.
        dtype: in which differences are computed.
        widest: `[T, B]`, gets the largest unit of every h_t.
        slopes: `[T, K, B, H]`, gets relu's slope at each replica's pre-activation.
        kept: of a gated cell, differences that its gradients need: number to `[T, K, B, H]`.
    """

    trace: Any  # a Trace, or a GatedTrace
    arithmetic: Arithmetic
    signs: Signs
    dtype: Any
    widest: Array
    slopes: Array | None = None
    kept: dict[int, Array] = field(default_factory=dict)

    def noise(self, results: Array) -> Noise:
        """Noise for the results of an operation at every step, `[T, B, H]`.

        Equal results come from equal computations, of units with equal weights, say: what rounding
        does to one it does to all of them, so that they share their error.
        """
        steps = [alike_numbers(step) for step in results]
        throughout = alike_numbers(results.sum(axis=0))
        drawn = self.signs.draw((REPLICAS, int(throughout.max()) + 1))
        return Noise(self.signs, PERSISTENT * drawn[:, throughout], steps)

    def cast(self, *arrays: Array) -> list[Array]:
        """Return arrays in the precision that replicas are computed in."""
        return [np.asarray(array, self.dtype) for array in arrays]


def alike_numbers(results: Array) -> Array:
    """Number results so that equal ones, up to the order of their summation, share a number."""
    mantissa, exponent = np.frexp(np.asarray(results, np.float64))
    key = np.ldexp(np.rint(mantissa * 2.0**30), exponent)
    _, numbers = np.unique(key, return_inverse=True)
    return numbers.reshape(results.shape)
