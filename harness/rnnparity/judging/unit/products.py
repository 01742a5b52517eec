"""Rounding of the matrix products that go into a step's gates, at every step of a trajectory."""

import numpy as np

from rnnparity.cells.recurrence import Trace
from rnnparity.judging.unit.arithmetic import Arithmetic
from rnnparity.types import Array


def joint(trace: Trace, arithmetic: Arithmetic, before: Array) -> tuple[Array, Array]:
    """Return the sum of both products, biases included, and the deviation of its rounding.

    Args:
        trace: of a layer and direction, float64.
        arithmetic: of the dtype.
        before: the states h that the steps start from, `[T, B, H]`.

    Returns:
        `[T, B, G * H]` each.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = trace.cell
    bias = bias_ih + bias_hh
    # An implementation may accumulate onto one bias, onto both, or onto what came before with or
    # without them, or make one sum of both products, in any order.
    onto = np.maximum(np.abs(bias_ih), np.abs(bias))
    from_x, error_x = arithmetic.dot(trace.x, weight_ih.T, onto)
    so_far = np.maximum(np.abs(from_x), np.abs(from_x + bias))
    from_h, error_h = arithmetic.dot(before, weight_hh.T, np.maximum(np.abs(bias_hh), so_far))
    both, together = np.concatenate((trace.x, before), 2), np.hstack((weight_ih, weight_hh))
    _, error_both = arithmetic.dot(both, together.T, onto)
    total = from_x + from_h + bias
    added = arithmetic.rounded(bias_ih, bias_hh, bias, from_x + bias, from_h, total)
    return total, np.sqrt(np.maximum(error_x + error_h, error_both) + added)


def made_joint(trace: Trace, arithmetic: Arithmetic) -> list[Array]:
    """Return the errors that two right computations of that sum make, `[T, B, G * H]` each.

    One adds up the recurrent product by itself, the other onto the input's, as a product of both
    side by side does.

    Signed, and the same for the same numbers: where terms, units or steps are alike, their errors
    are alike, too, and add up as random ones do not.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = (arithmetic.round(p) for p in trace.cell)
    x, before = (_rows(arithmetic.round(a)) for a in (trace.x, trace.before[0]))
    from_x, bias = arithmetic.sequential(x, weight_ih.T), bias_ih + bias_hh
    alone = (from_x + bias) + arithmetic.sequential(before, weight_hh.T)
    onto = arithmetic.sequential(before, weight_hh.T, from_x) + bias
    x, h, w, r, b, c = arithmetic.higher(x, before, weight_ih, weight_hh, bias_ih, bias_hh)
    true = x @ w.T + h @ r.T + (b + c)
    shape = (*trace.x.shape[:2], -1)
    return [np.asarray(made - true, np.float64).reshape(shape) for made in (alone, onto)]


def separate(trace: Trace, arithmetic: Arithmetic, before: Array) -> dict[str, tuple[Array, Array]]:
    """Return, of each product with its bias, the deviation and an error that is really made.

    Returns:
        Under "x" the input's and under "h" the state's, `[T, B, G * H]` each.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = trace.cell
    found = {}
    for name, a, weight, bias in (
        ("x", trace.x, weight_ih, bias_ih),
        ("h", before, weight_hh, bias_hh),
    ):
        product, variance = arithmetic.dot(a, weight.T, np.abs(bias))
        variance = variance + arithmetic.rounded(bias, product + bias)
        found[name] = np.sqrt(variance), made(arithmetic, a, weight.T)
    return found


def made(arithmetic: Arithmetic, a: Array, b: Array) -> Array:
    """Return the errors that one right product in the dtype really makes.

    Args:
        arithmetic: of the dtype.
        a: `[..., n]`.
        b: `[n, m]`.
    """
    rounded, other = arithmetic.round(_rows(a)), arithmetic.round(b)
    exact, exact_other = arithmetic.higher(rounded, other)
    error = arithmetic.sequential(rounded, other) - exact @ exact_other
    return np.asarray(error, np.float64).reshape(*a.shape[:-1], b.shape[1])


def _rows(a: Array) -> Array:
    return a.reshape(-1, a.shape[-1])
