"""The sizes of rounding errors of single operations in a dtype, and a real one to measure.

`docs/verdict.md` derives the variances; `rounding` puts them into replicas of a network.
"""

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnparity.dtypes import numpy_dtype, underflow, unit_roundoff

Array = NDArray[Any]

# Error of tanh in unit roundoffs, as a standard deviation: a fifth or so of the worst of a kept
# library, which is XLA's on a CPU: 5 ULP (10 unit roundoffs) in float32, at least 6.5 ULP (13) in
# float64 (JAX's documentation of numerical accuracy). Half of the variance has one sign everywhere:
# an approximation may be a little high throughout.
TANH_ERROR = {"float64": 3.0}
TANH_ERROR_ELSE = 2.0

# Rounding of the inputs of a float32 product, by the declared matmul precision: up to 2^-10 in
# TF32, where the hardware may cut bits off; to nearest in bfloat16.
PRODUCT_ROUNDOFF = {"float32": 0.0, "tf32": 2.0**-10, "bfloat16": 2.0**-8}
TF32_BITS = 11


@dataclass(frozen=True)
class Arithmetic:
    """The sizes of rounding errors in a dtype, at a declared matmul precision."""

    dtype: str
    u: float
    underflow: float
    products: str  # "float32", "tf32" or "bfloat16"; "float32" in every other dtype

    @classmethod
    def of(cls, dtype: str, matmul_precision: str = "float32") -> "Arithmetic":
        """Return the sizes for a dtype."""
        products = matmul_precision if dtype == "float32" else "float32"
        return cls(dtype, unit_roundoff(dtype), underflow(dtype), products)

    @property
    def tanh_error(self) -> float:
        """The standard deviation of tanh's error, in unit roundoffs."""
        return TANH_ERROR.get(self.dtype, TANH_ERROR_ELSE)

    def dot(self, a: Array, b: Array, start: Array | float = 0.0) -> tuple[Array, Array]:
        """Return `a @ b` and the variance of its rounding error.

        A sum of n terms p_i in any order makes partial sums whose squares add up, on average, to
        about n/2 sum(p_i^2) + n/3 (sum p_i)^2, and n start^2 more if the accumulator starts from
        what the sum is added to; every one is rounded, and so is every product and the result.

        Args:
            a: `[..., n]`.
            b: `[n, m]`.
            start: what an implementation may accumulate onto, `[..., m]`.
        """
        n, total, squares = a.shape[-1], a @ b, (a * a) @ (b * b)
        sums = (1 + n / 2) * squares + (1 + n / 3) * total**2 + n * np.square(start)
        variance = self.u**2 / 3 * sums + n * self.underflow**2
        return total, variance + 2 * PRODUCT_ROUNDOFF[self.products] ** 2 / 3 * squares

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
        if self.dtype in ("bfloat16", "float16"):
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


def _cut(a: Array) -> Array:
    """Cut a float32 array's mantissa off at TF32's length."""
    mask = np.uint32(0xFFFFFFFF << (24 - TF32_BITS) & 0xFFFFFFFF)
    cut: Array = (a.view(np.uint32) & mask).view(np.float32)
    return cut
