"""A way's arithmetic in a dtype: products, functions, and what is rounded."""

from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

from rnnparity.judging.unit.arithmetic import LOGISTIC_ULP, TANH_ULP
from rnnparity.problems.dtypes import numpy_dtype, spacing
from rnnparity.selftest.right_ways import nonlinearities, sums
from rnnparity.selftest.right_ways.way import Way
from rnnparity.types import Array

# Where the logistic function is far below its error near 1/2, it may be off by so many times
# itself (`docs/verdict.md`), rounding included.
FAR_OUT = 7.0
HALF = np.asarray(0.5)  # whose units in the last place its error is in, up to 1


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

    def multiply_add(self, a: Array, b: Array, c: Array) -> Array:
        """Return `a b + c`: fused if the way says so, else the product is rounded, too."""
        fused = self.way.fuses != "neither"
        return self.round(sums.fused(a, b, c) if fused else self.round(a * b) + c)

    def add_products(self, a: Array, b: Array, c: Array, d: Array) -> Array:
        """Return `a b + c d`, where the way may fuse one of the products with the sum."""
        if self.way.fuses == "second":
            a, b, c, d = c, d, a, b
        return self.multiply_add(a, b, self.round(c * d))

    def tanh(self, a: Array) -> Array:
        """The hyperbolic tangent, wrong by some units in the last place if the way says so."""
        if not self.way.off:
            return self.round(self.way.tanh(a))
        # With the rounding that follows, by at most the largest error: of the exact value's units,
        # which are half as large below a power of two as above it.
        exact = np.tanh(np.asarray(a, np.float64))
        moved = np.abs(exact) + self._halves(a, TANH_ULP, self.way.off) * spacing(exact, self.dtype)
        return self.to_kept(np.copysign(np.clip(moved, 0, 1), exact).astype(a.dtype))

    def logistic(self, a: Array) -> Array:
        """The logistic function, wrong if the way says so."""
        if not self.way.logistic_off:
            return self.round(self.way.logistic(a, self.tanh, self.round))
        exact = nonlinearities.logistic_of_size(np.asarray(a, np.longdouble), np.tanh, self.round)
        moved = self._halves(a, LOGISTIC_ULP, self.way.logistic_off) * spacing(HALF, self.dtype)
        moved = exact + np.minimum(moved, FAR_OUT * exact)
        return self.to_kept(np.clip(moved, 0, 1).astype(a.dtype))

    def _halves(self, a: Array, largest: dict[str, float], direction: int) -> Array:
        """Return how many units in the last place a function of `a` is off by, a half to spare."""
        return nonlinearities.digest(a, 2 * int(largest[self.dtype])) * (direction / 2)

    def slope(self, h: Array, a: Array) -> Array:
        """Return the derivative of tanh."""
        return self.way.slope(h, a, self.round)

    def logistic_slope(self, s: Array, a: Array) -> Array:
        """Return the derivative of the logistic function."""
        return self.way.logistic_slope(s, a, self.round)

    def _flush(self, values: Array) -> Array:
        if not self.way.flushes:
            return values
        return np.where(np.abs(values) < self.normal, values.dtype.type(0), values)
