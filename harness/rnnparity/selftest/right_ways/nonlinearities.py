"""Ways to compute tanh and its derivative, all with a small relative error, near zero, too.

The forms that have not, `(e^2x - 1) / (e^2x + 1)` and `2 s(2x) - 1`, are missing on purpose.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rnnparity.types import Array

Function = Callable[[Array], Array]

# From here on tanh rounds to 1 in float64, and in every coarser dtype.
FLAT = 20.0

# How deep the continued fraction goes: enough for half of 20, and for float64.
DEPTH = 28


def by_higher(a: Array) -> Array:
    """Rounded correctly, all but: in a higher precision, rounded once."""
    higher = np.longdouble if a.dtype == np.float64 else np.float64
    return np.asarray(np.tanh(a.astype(higher)), a.dtype)


def by_expm1(a: Array) -> Array:
    """`-m / (m + 2)` with `m = e^(-2 |a|) - 1`."""
    m = np.expm1(-2 * np.abs(a))
    return np.asarray(np.copysign(-m / (m + 2), a))


def by_continued_fraction(a: Array) -> Array:
    """Lambert's fraction of half the argument, then `tanh 2x = 2 t / (1 + t^2)`."""
    x = np.clip(a, -FLAT, FLAT) / 2
    squared = x * x
    below = np.full_like(x, 2 * DEPTH + 1)
    for k in reversed(range(DEPTH)):
        below = (2 * k + 1) + squared / below
    t = x / below
    return np.asarray((t + t) / (1 + t * t), a.dtype)


def by_parts(a: Array) -> Array:
    """`1 - 2 / (e^(2 |a|) + 1)` far out, the fraction near zero, as CUDA's library has it."""
    far = 1 - 2 / (np.exp(2 * np.minimum(np.abs(a), a.dtype.type(FLAT))) + 1)
    return np.where(np.abs(a) < 0.6, by_continued_fraction(a), np.copysign(far, a))


def digest(a: Array, below: int) -> NDArray[np.int64]:
    """Return an integer from 0 to `below - 1` that depends on every number's bits alone."""
    wide = np.ascontiguousarray(a, np.float64).view(np.uint64)
    mixed = (wide ^ (wide >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15)
    return ((mixed >> np.uint64(40)) % np.uint64(below)).astype(np.int64)


# The derivative of tanh: of h, and of a where it needs that.


def one_minus_square(h: Array, a: Array | None, round_: Function) -> Array:
    """`1 - h^2`, the square rounded."""
    return round_(1 - round_(h * h))


def one_minus_square_fused(h: Array, a: Array | None, round_: Function) -> Array:
    """`1 - h^2`, rounded once."""
    higher = np.longdouble if h.dtype == np.float64 else np.float64
    return round_((1 - np.square(h.astype(higher))).astype(h.dtype))


def product_of_two(h: Array, a: Array | None, round_: Function) -> Array:
    """`(1 - h) (1 + h)`."""
    return round_(round_(1 - h) * round_(1 + h))


def by_cosh(h: Array, a: Array | None, round_: Function) -> Array:
    """`1 / cosh^2 a`."""
    assert a is not None
    return round_(1 / np.square(np.cosh(a)))


def by_exp(h: Array, a: Array | None, round_: Function) -> Array:
    """`4 e / (1 + e)^2` with `e = e^(-2 |a|)`."""
    assert a is not None
    e = np.exp(-2 * np.abs(a))
    return round_(4 * e / np.square(1 + e))
