"""Ways to add up the gradient of a weight over steps and rows.

Each takes the arithmetic, the gradients of what the weight makes `[T, B, m]` and what it is
multiplied with `[T, B, n]`, and returns `[m, n]`.
"""

from collections.abc import Callable

import numpy as np

from rnnparity.selftest.right_ways.work import Work
from rnnparity.types import Array

Weights = Callable[[Work, Array, Array], Array]


def all_at_once(work: Work, grad_a: Array, factor: Array) -> Array:
    """In one product over steps and rows."""
    m, n = grad_a.shape[2], factor.shape[2]
    return work.dot(grad_a.reshape(-1, m).T, factor.reshape(-1, n))


def row_by_row(work: Work, grad_a: Array, factor: Array) -> Array:
    """The same, sequence after sequence."""
    return all_at_once(
        work,
        np.ascontiguousarray(grad_a.swapaxes(0, 1)),
        np.ascontiguousarray(factor.swapaxes(0, 1)),
    )


def in_chunks(length: int, *, wide: bool = False) -> Weights:
    """So many steps at a time, the last first; their sum is kept in the dtype, or wider."""

    def add(work: Work, grad_a: Array, factor: Array) -> Array:
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
