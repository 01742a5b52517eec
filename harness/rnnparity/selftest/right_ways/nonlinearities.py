"""Ways to compute tanh, the logistic function and their derivatives.

Those of tanh have a small relative error, near zero, too. The forms that have not,
`(e^2x - 1) / (e^2x + 1)` and `2 s(2x) - 1`, are missing on purpose. The logistic function may have
an absolute one (`docs/verdict.md`).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rnnparity.implementations import frameworks
from rnnparity.implementations.settings import Settings
from rnnparity.types import Array

Function = Callable[[Array], Array]
Logistic = Callable[[Array, Function, Function], Array]  # of a, a tanh, and how results are rounded
Slope = Callable[[Array, Array, Function], Array]  # of the value, a, and how results are rounded

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


# The logistic function.


def logistic(a: Array, tanh: Function, round_: Function) -> Array:
    """`1 / (1 + e^-a)`; where e^-a overflows, it is 0."""
    return np.asarray(1 / (1 + np.exp(-a)))


def logistic_step_by_step(a: Array, tanh: Function, round_: Function) -> Array:
    """The same, every operation rounded."""
    return round_(1 / round_(1 + round_(np.exp(-a))))


def logistic_of_size(a: Array, tanh: Function, round_: Function) -> Array:
    """By e^-|a|, which cannot overflow."""
    small = np.exp(-np.abs(a))
    return np.asarray(np.where(a < 0, small, a.dtype.type(1)) / (1 + small))


def logistic_by_tanh(a: Array, tanh: Function, round_: Function) -> Array:
    """`tanh(a / 2) / 2 + 1/2`."""
    return np.asarray(tanh(a / 2) / 2 + a.dtype.type(0.5))


def logistic_by_higher(a: Array, tanh: Function, round_: Function) -> Array:
    """Rounded correctly, all but."""
    higher = np.longdouble if a.dtype == np.float64 else np.float64
    return np.asarray(logistic_of_size(a.astype(higher), tanh, round_), a.dtype)


def logistic_by_torch(a: Array, tanh: Function, round_: Function) -> Array:
    """PyTorch's own."""
    import torch

    made: Array = torch.sigmoid(torch.from_numpy(np.ascontiguousarray(a))).numpy()
    return made


def logistic_by_jax(a: Array, tanh: Function, round_: Function) -> Array:
    """JAX's own."""
    border = frameworks.get("jax", Settings())
    import jax

    made: Array = border.to_numpy(jax.nn.sigmoid(border.from_numpy(a, "cpu")))
    return made


def digest(a: Array, below: int) -> NDArray[np.int64]:
    """Return an integer from 0 to `below - 1` that depends on every number's bits alone."""
    wide = np.ascontiguousarray(a, np.float64).view(np.uint64)
    mixed = (wide ^ (wide >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15)
    return ((mixed >> np.uint64(40)) % np.uint64(below)).astype(np.int64)


# The derivative of tanh.


def one_minus_square(h: Array, a: Array, round_: Function) -> Array:
    """`1 - h^2`, the square rounded."""
    return round_(1 - round_(h * h))


def one_minus_square_fused(h: Array, a: Array, round_: Function) -> Array:
    """`1 - h^2`, rounded once."""
    higher = np.longdouble if h.dtype == np.float64 else np.float64
    return round_((1 - np.square(h.astype(higher))).astype(h.dtype))


def product_of_two(h: Array, a: Array, round_: Function) -> Array:
    """`(1 - h) (1 + h)`."""
    return round_(round_(1 - h) * round_(1 + h))


def by_cosh(h: Array, a: Array, round_: Function) -> Array:
    """`1 / cosh^2 a`."""
    return round_(1 / np.square(np.cosh(a)))


def by_exp(h: Array, a: Array, round_: Function) -> Array:
    """`4 e / (1 + e)^2` with `e = e^(-2 |a|)`."""
    e = np.exp(-2 * np.abs(a))
    return round_(4 * e / np.square(1 + e))


# The derivative of the logistic function.


def product_with_rest(s: Array, a: Array, round_: Function) -> Array:
    """`s (1 - s)`."""
    return round_(s * round_(1 - s))


def less_its_square(s: Array, a: Array, round_: Function) -> Array:
    """`s - s^2`."""
    return round_(s - round_(s * s))


def product_with_other_side(s: Array, a: Array, round_: Function) -> Array:
    """`s(a) s(-a)`."""
    return round_(s * round_(logistic(-a, np.tanh, round_)))
