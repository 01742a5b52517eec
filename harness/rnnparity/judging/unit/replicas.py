"""Replicas of a network: the signs of their errors, and what is alike in them."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rnnparity.cells.recurrence import Trace
from rnnparity.judging.unit.arithmetic import Arithmetic
from rnnparity.problems.arrays import REPLICAS
from rnnparity.types import Array

# Share of an error that stays the same at every step of a sequence: near a fixed point of the
# recurrence an implementation makes nearly the same rounding errors again and again; independent
# errors alone would let them average out.
PERSISTENT = 1 / 3
FRESH = float(np.sqrt(1 - PERSISTENT**2))

# A case whose numbers are smaller somewhere, but not zero, is followed in float64: float32 has few
# bits below 2^-126 or none, and processors are slow there.
SMALLEST = 2.0**-80


class Signs:
    """A stream of random signs: the raw bits of PCG64, the same on every machine."""

    def __init__(self, seed: int, dtype: Any) -> None:
        """Start the stream."""
        self._bits = np.random.PCG64(seed)
        bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
        self._of_byte = 2 * bits.astype(dtype) - 1  # [256, 8]

    def draw(self, shape: tuple[int, ...]) -> Array:
        """Return +1 and -1 with equal probability."""
        count = math.prod(shape)
        raw = np.asarray(self._bits.random_raw(-(-count // 64)), np.uint64).view(np.uint8)
        return self._of_byte[raw].reshape(-1)[:count].reshape(shape)


@dataclass
class Noise:
    """Errors of size 1: partly the same at every step, partly fresh."""

    signs: Signs
    persistent: Array  # [K, B, H]
    alike: dict[int, Array]  # of the steps that have equal results, their numbers, [B, H]

    def at(self, steps: range) -> Array:
        """Draw errors `[len(steps), K, B, H]` of standard deviation 1.

        Half of the variance is the same for what is alike: equal computations may err equally, but
        need not, at the edge of a tile, say, where a library adds up in another order.
        """
        fresh = self.signs.draw((len(steps), *self.persistent.shape))
        for t in self.alike.keys() & set(steps):
            numbers = self.alike[t]
            shared = self.signs.draw((REPLICAS, int(numbers.max()) + 1))[:, numbers]
            fresh[t - steps.start] = np.sqrt(0.5) * (fresh[t - steps.start] + shared)
        fresh *= FRESH
        fresh += self.persistent
        return fresh


@dataclass
class Replicas:
    """A trace, with what the replicas' layers need to go along it.

    Attributes:
        trace: of the truth, float64.
        arithmetic: of the dtype under test.
        signs: of the errors.
        dtype: in which differences are computed.
        widest: `[T, B]`, gets the largest unit of every h_t, and of other states as far as it is
            to h's size.
        kept: differences that gradients need: number to `[T, K, B, H]`.
        slopes: of each relu, by its number, its slope in each replica, `[T, K, B, H]`.
    """

    trace: Trace
    arithmetic: Arithmetic
    signs: Signs
    dtype: Any
    widest: Array
    kept: dict[int, Array] = field(default_factory=dict)
    slopes: dict[int, Array] = field(default_factory=dict)
    count: int = REPLICAS

    def noise(self, results: Array) -> Noise:
        """Noise for the results of an operation at every step, `[T, B, H]`.

        Equal results come from equal computations, of units with equal weights, say: what rounding
        does to one it does to all of them, so that they share their error.
        """
        keys = _without_last_bits(np.concatenate((results, results.sum(axis=0, keepdims=True))))
        ordered = np.sort(keys.reshape(len(keys), -1), axis=1)
        equal = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
        alike = {int(t): _numbered(keys[t]) for t in np.flatnonzero(equal)}
        throughout = alike.pop(len(results), None)
        if throughout is None:
            drawn = self.signs.draw((REPLICAS, *results.shape[1:]))
        else:
            drawn = self.signs.draw((REPLICAS, int(throughout.max()) + 1))[:, throughout]
        return Noise(self.signs, PERSISTENT * drawn, alike)

    def cast(self, *arrays: Array) -> list[Array]:
        """Return arrays in the precision that replicas are computed in."""
        return [np.asarray(array, self.dtype) for array in arrays]


def _without_last_bits(results: Array) -> Array:
    """Return results of which those are equal that are so up to the order of their summation."""
    mantissa, exponent = np.frexp(np.asarray(results, np.float64))
    key: Array = np.ldexp(np.rint(mantissa * 2.0**30), exponent)
    return key


def _numbered(keys: Array) -> Array:
    _, numbers = np.unique(keys, return_inverse=True)
    return numbers.reshape(keys.shape)
