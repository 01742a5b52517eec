"""One step from given states, as a sequence past a chaotic horizon is judged, step by step."""

import numpy as np

from rnnparity.cells import recurrence
from rnnparity.cells.recurrence import Trace
from rnnparity.judging.unit import forward, products
from rnnparity.judging.unit.arithmetic import AT_ONCE, Arithmetic
from rnnparity.judging.unit.differences import KINK
from rnnparity.judging.unit.replicas import Replicas, Signs
from rnnparity.problems.arrays import REPLICAS
from rnnparity.types import Array


def one_step(
    trace: Trace, before: Array, arithmetic: Arithmetic, nonlinearity: str
) -> tuple[Array, Array]:
    """Return every step from given states, and the deviation of one step's rounding.

    Of cells whose only state is h: what an LSTM's c was at every step is not seen.

    Args:
        trace: of a layer and direction, float64.
        before: the states that the steps start from, `[T, B, H]`.
        arithmetic: the sizes of single rounding errors.
        nonlinearity: of a plain RNN, "tanh" or "relu".

    Returns:
        `[T, B, H]` each.
    """
    # In 16 bits the state may be kept in float32, and be seen only as it is rounded.
    unseen = arithmetic.rounded(before) if arithmetic.is_16_bit else np.zeros_like(before)
    if trace.step.gates > 1:
        return _by_replicas(trace, before, unseen, arithmetic)
    a, deviation = products.joint(trace, arithmetic, before)
    deviation = np.sqrt(deviation**2 + unseen @ np.square(trace.cell.weight_hh).T)
    if nonlinearity == "relu":
        return np.maximum(a, 0), np.where(a > -KINK * deviation, deviation, arithmetic.underflow)
    # The slope is taken where it is steepest within reach, since the step is no longer small there.
    nearest = np.clip(np.maximum(np.abs(a) - KINK * deviation, 0), 0, 300)
    moved = deviation / np.cosh(nearest) ** 2
    h = np.tanh(a)
    return h, np.sqrt(moved**2 + arithmetic.tanh_variance(h))


def _by_replicas(
    trace: Trace, before: Array, unseen: Array, arithmetic: Arithmetic
) -> tuple[Array, Array]:
    """Take some steps at once as rows of a batch of sequences of length 1, in every replica.

    Args:
        trace: as above.
        before: as above.
        unseen: variance of what is not seen of the states, `[T, B, H]`.
        arithmetic: as above.
    """
    (T, B, H), I = before.shape, trace.x.shape[2]
    after, deviation = np.empty_like(before), np.empty_like(before)
    work = np.float64 if arithmetic.dtype == "float64" else np.float32
    count = max(1, AT_ONCE // (B * H))
    for first in range(0, T, count):
        some = slice(first, first + count)
        h = before[some].reshape(-1, H)
        step = Trace(trace.cell, trace.step)
        after[some] = recurrence.layer(trace.x[some].reshape(1, -1, I), h, step)[1].reshape(
            -1, B, H
        )
        signs = Signs(first, work)
        replicas = Replicas(step, arithmetic, signs, work, np.empty((1, len(h))))
        (size,) = replicas.cast(np.sqrt(unseen[some].reshape(h.shape)))
        moved = signs.draw((REPLICAS, *h.shape)) * size
        of_x = np.zeros((1, REPLICAS * len(h), I), work)
        last = forward.layer(of_x, moved.reshape(-1, H), replicas)[1].reshape(REPLICAS, -1, B, H)
        deviation[some] = np.sqrt(np.mean(np.square(last, dtype=np.float64), axis=0))
    return after, np.maximum(deviation, arithmetic.underflow)
