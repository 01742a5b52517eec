"""One step from given states, as a sequence past a chaotic horizon is judged, step by step."""

import numpy as np

from rnnparity.cells.recurrence import Trace
from rnnparity.judging.unit import products
from rnnparity.judging.unit.arithmetic import Arithmetic
from rnnparity.judging.unit.differences import KINK
from rnnparity.types import Array


def one_step(
    trace: Trace, before: Array, arithmetic: Arithmetic, nonlinearity: str
) -> tuple[Array, Array]:
    """Return every step of a plain RNN from given states, and the deviation of its rounding.

    Args:
        trace: of a layer and direction, float64.
        before: the states that the steps start from, `[T, B, H]`.
        arithmetic: the sizes of single rounding errors.
        nonlinearity: "tanh" or "relu".

    Returns:
        `[T, B, H]` each.
    """
    a, deviation = products.joint(trace, arithmetic, before)
    if arithmetic.is_16_bit:
        # The state may be kept in float32, and be seen only as it is rounded.
        kept = arithmetic.rounded(before) @ np.square(trace.cell.weight_hh).T
        deviation = np.sqrt(deviation**2 + kept)
    if nonlinearity == "relu":
        return np.maximum(a, 0), np.where(a > -KINK * deviation, deviation, arithmetic.underflow)
    # The slope is taken where it is steepest within reach, since the step is no longer small there.
    nearest = np.clip(np.maximum(np.abs(a) - KINK * deviation, 0), 0, 300)
    moved = deviation / np.cosh(nearest) ** 2
    h = np.tanh(a)
    return h, np.sqrt(moved**2 + arithmetic.tanh_variance(h))
