"""The sizes of rounding errors of single operations in a dtype, and a real one to measure.

`docs/verdict.md` derives the variances; `rounding` puts them into replicas of a network.
"""

from dataclasses import dataclass
from functools import reduce

import ml_dtypes
import numpy as np

from rnnparity.implementations.settings import Settings
from rnnparity.problems.arrays import REPLICAS
from rnnparity.problems.dtypes import is_16_bit, numpy_dtype, spacing, underflow, unit_roundoff
from rnnparity.types import Array

# The largest error of a right tanh, in units in the last place (`docs/promise.md`). Documented
# worst cases of kept libraries: 5.0 in float32 and at least 6.5 in float64 (XLA on a CPU, by
# JAX's page on numerical accuracy), 2 (CUDA); the 16-bit types are computed in float32 and rounded
# once, but for NumPy's float16 (3) and bfloat16 instructions of GPUs (1).
TANH_ULP = {"float64": 7.0, "float32": 5.0, "float16": 3.0, "bfloat16": 2.0}

# The largest error of a right logistic function, in units in the last place of a number of at least
# 1/2: half of tanh's where it is made of that, two for exp, the sum and the quotient.
LOGISTIC_ULP = {"float64": 4.0, "float32": 3.0, "float16": 2.0, "bfloat16": 2.0}

# Standard deviation of what is different in every element, as a share of that.
TANH_RANDOM = 0.25

# Besides, an approximation may be high or low throughout. Few replicas have much of that, and most
# have little: what a product of many small derivatives makes of an error is not in proportion to
# it, so that the largest must occur. As shares of the largest; the rest has the last.
TANH_SHARED = (1.0, -1.0, 1.0, -1.0, 0.5, -0.5, 0.1)

# Numbers that are computed with at once, so that they stay in the cache.
AT_ONCE = 2**17

# In so many blocks the terms of a sum are added up to see how large its partial sums are.
BLOCKS = 16

# Rounding of the inputs of a float32 product, by the declared matmul precision: up to 2^-10 in
# TF32, where the hardware may cut bits off; to nearest in bfloat16.
PRODUCT_ROUNDOFF = {"float32": 0.0, "tf32": 2.0**-10, "bfloat16": 2.0**-8}
TF32_BITS = 11


@dataclass(frozen=True)
class Arithmetic:
    """The sizes of rounding errors in a dtype, and of what a run declares besides.

    Attributes:
        dtype: under test.
        u: its unit roundoff.
        underflow: the error that underflow makes.
        products: how far float32 products may round their inputs: "float32", "tf32" or "bfloat16".
        tanh_absolute: what tanh may err by besides, at any argument.
    """

    dtype: str
    u: float
    underflow: float
    products: str = "float32"
    tanh_absolute: float = 0.0

    @classmethod
    def of(cls, dtype: str, settings: Settings | None = None) -> "Arithmetic":
        """Return the sizes for a dtype and for what a run declares."""
        declared = settings or Settings()
        products = declared.matmul_precision if dtype == "float32" else "float32"
        return cls(dtype, unit_roundoff(dtype), underflow(dtype), products, declared.tanh_absolute)

    def tanh_error(self, h: Array) -> tuple[Array, Array]:
        """Return sizes of the error of a right tanh, whose exact results are `h`.

        Returns:
            The standard deviation of what is different in every element, the rounding of the result
            included, and the largest of what is off to one side everywhere, away from zero, with
            the sign of `h`; both shaped as `h`.
        """
        largest = TANH_ULP[self.dtype] * spacing(h, self.dtype) * (h != 0) + self.tanh_absolute
        return np.sqrt((TANH_RANDOM * largest) ** 2 + self.rounded(h)), np.copysign(largest, h)

    def logistic_error(self, s: Array) -> tuple[Array, Array]:
        """Return sizes of the error of a right logistic function, whose exact results are `s`.

        By an absolute error below 1/2: several libraries compute it as tanh(a / 2) / 2 + 1/2, whose
        error near 0 is that near 1/2.

        Returns:
            As `tanh_error`.
        """
        absolute = spacing(np.maximum(np.abs(s), 0.5), self.dtype)
        # Farther out tanh(a / 2) is -1, and what is made of it is 0, which is off by all of s.
        absolute = np.minimum(LOGISTIC_ULP[self.dtype] * absolute, 8 * np.abs(s))
        largest = np.maximum(absolute, LOGISTIC_ULP[self.dtype] * spacing(s, self.dtype) * (s != 0))
        return np.sqrt((TANH_RANDOM * largest) ** 2 + self.rounded(s)), largest

    def tanh_variance(self, h: Array) -> Array:
        """Return the variance of the error of a right tanh, whose exact results are `h`."""
        random, largest = self.tanh_error(h)
        shares = np.square(tanh_shares(REPLICAS))
        return random**2 + float(shares.mean()) * largest**2

    @property
    def accumulator(self) -> float:
        """The unit roundoff in which sums are accumulated: float32's for the 16-bit types."""
        return unit_roundoff("float32") if self.is_16_bit else self.u

    @property
    def is_16_bit(self) -> bool:
        """Whether sums are accumulated in float32, and rounded to the dtype at the end."""
        return is_16_bit(self.dtype)

    def dot(self, a: Array, b: Array, start: Array | float = 0.0) -> tuple[Array, Array]:
        """Return `a @ b` and the variance of its rounding error.

        Every partial sum of a sum of terms p_1 ... p_n is rounded once. Their squares add up, on
        average over all orders of summation, to about n/2 sum(p_i^2) + n/3 (sum p_i)^2, and n
        start^2 more if the accumulator starts from what the sum is added to. Libraries add in the
        order of the index, or from the other end, where partial sums may be larger than on average
        (terms that come sorted by sign): the largest of the three counts.

        Args:
            a: `[..., n]`.
            b: `[n, m]`.
            start: what an implementation may accumulate onto, `[..., m]`.
        """
        n, total, squares = a.shape[-1], a @ b, (a * a) @ (b * b)
        at_random = n / 2 * squares + n / 3 * total**2
        partial = np.maximum(at_random, self._in_order(a, b, total, n))
        sums = partial + n * np.square(start)
        variance = self.accumulator**2 / 3 * sums + self.u**2 / 3 * total**2
        if self.is_16_bit:
            variance += self.u**2 / 3 * np.square(start)
        else:
            variance += self.u**2 / 3 * squares  # of the products; exact in float32 for 16 bits
        variance += n * self.underflow**2 + self._flushed(a, b)
        return total, variance + 2 * PRODUCT_ROUNDOFF[self.products] ** 2 / 3 * squares

    def stepwise(self, a: Array, b: Array, steps: int) -> Array | float:
        """Return the variance of adding up a product in the dtype itself, a part at each step.

        So does an autograd that goes along a loop with the gradients of its weights, one product a
        step, in the 16-bit types, too; what is added within a step is `dot`'s.

        Args:
            a: `[N, n]`, the terms of one step side by side.
            b: `[n, m]`.
            steps: into which the n terms fall.
        """
        if not self.is_16_bit or steps < 3:
            return 0.0
        return self.u**2 / 3 * self._in_order(a, b, a @ b, steps)

    def _in_order(self, a: Array, b: Array, total: Array, n: int) -> Array:
        """Sum of the squares of n partial sums, from the first term on or from the last.

        They are taken at the ends of at most `BLOCKS` blocks of terms, each for all its terms.
        """
        if n < 3:
            return np.zeros_like(total)
        width = -(-n // BLOCKS) * (a.shape[-1] // n)  # columns of a block
        count, m = -(-a.shape[-1] // width), b.shape[1]
        rows, factors = np.zeros((total.size // m, count * width)), np.zeros((count * width, m))
        rows[:, : a.shape[-1]], factors[: len(b)] = a.reshape(len(rows), -1), b
        blocks, factors = rows.reshape(-1, count, width), factors.reshape(count, width, m)
        found = np.empty((len(rows), m))
        at_once = max(1, AT_ONCE // (count * m))
        for first in range(0, len(rows), at_once):
            some = blocks[first : first + at_once].swapaxes(0, 1)
            partial = np.cumsum(some @ factors, axis=0)
            backwards = partial[-1] - np.concatenate((np.zeros_like(partial[:1]), partial[:-1]))
            sums = [np.einsum("kij,kij->ij", each, each) for each in (partial, backwards)]
            found[first : first + at_once] = np.maximum(*sums)
        largest: Array = found.reshape(total.shape) * (n / count)
        return largest

    def _flushed(self, a: Array, b: Array) -> Array | float:
        """Variance of taking subnormal factors of a product for zero, as many processors do."""
        if self.dtype == "float16":
            return 0.0
        normal = self.smallest_normal
        small_a, small_b = (np.where(np.abs(f) < normal, f, 0) for f in (a, b))
        found: Array | float = 0.0
        if small_a.any():
            found = found + (small_a * small_a) @ (b * b)
        if small_b.any():
            found = found + (a * a) @ (small_b * small_b)
        return found

    @property
    def smallest_normal(self) -> float:
        """The smallest normal number of the dtype."""
        return float(ml_dtypes.finfo(numpy_dtype(self.dtype)).smallest_normal)

    def rounded(self, *values: Array) -> Array:
        """Return the variance of rounding each of some results once."""
        total: Array = reduce(np.add, [value * value for value in values])
        return self.u**2 / 3 * total + self.underflow**2

    def round(self, values: Array) -> Array:
        """Return values in the dtype."""
        return values.astype(numpy_dtype(self.dtype))

    def sequential(self, a: Array, b: Array, start: Array | None = None) -> Array:
        """Return `a @ b`, or `start + a @ b`, as a loop over its terms makes it, all rounded.

        The 16-bit types are accumulated in float32 and rounded at the end, as libraries do.

        Args:
            a: `[N, n]`, in the dtype.
            b: `[n, m]`, in the dtype.
            start: what is accumulated onto, `[N, m]`, in the dtype; zeros if None.
        """
        if start is None:
            start = np.zeros((a.shape[0], b.shape[1]), a.dtype)
        if self.is_16_bit:
            return self.round(
                start.astype(np.float32) + a.astype(np.float32) @ b.astype(np.float32)
            )
        if self.products == "tf32":
            a, b = _cut(a), _cut(b)
        elif self.products == "bfloat16":
            a, b = (each.astype(numpy_dtype("bfloat16")).astype(np.float32) for each in (a, b))
        total = start.copy()
        rows = max(1, 2**16 // max(1, b.shape[1]))  # a block that stays in the cache
        for first in range(0, len(a), rows):
            block, into = a[first : first + rows].T.copy(), total[first : first + rows]
            product = np.empty_like(into)
            for column, row in zip(block, b, strict=True):
                np.multiply(column[:, None], row, out=product)
                into += product
        return total

    def higher(self, *arrays: Array) -> list[Array]:
        """Return arrays in a precision in which a product of them is as good as exact."""
        kind = np.longdouble if self.dtype == "float64" else np.float64
        return [array.astype(kind) for array in arrays]


def tanh_shares(count: int) -> Array:
    """Return what share of the largest error each of `count` replicas has throughout: `[count]`."""
    *large, small = TANH_SHARED
    rest = [small, -small] * count
    return np.array([*large, *rest][:count])


def _cut(a: Array) -> Array:
    """Cut a float32 array's mantissa off at TF32's length."""
    mask = np.uint32(0xFFFFFFFF << (24 - TF32_BITS) & 0xFFFFFFFF)
    cut: Array = (a.view(np.uint32) & mask).view(np.float32)
    return cut
