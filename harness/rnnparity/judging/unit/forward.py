"""Differences of replicas from the truth, forward: a layer, and one step from given states."""

import numpy as np

from rnnparity.cells.elman import Trace
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.unit.arithmetic import Arithmetic, tanh_shares
from rnnparity.judging.unit.replicas import Replicas
from rnnparity.problems.arrays import REPLICAS
from rnnparity.types import Array

# How near to relu's kink, in standard deviations of what goes into it, a replica may take either
# side: as far as the verdict lets a right implementation be, so that its side is in the model.
KINK = LIMIT

# How far relu's slope may be from its own there: what a right implementation changes by being on
# the other side is then at most 1/ALIVE or 1/DEAD units. Several inactive units in a row let pass
# the product of what each may; an active one that is off blocks all there is, whatever the others
# do, and a long row of them must not grow.
ALIVE, DEAD = 1 / 4, 1 / 2

# One replica in so many is stopped by the kink as its own side demands, at every step.
EXACT = 4


def layer(dx: Array, dh0: Array, replicas: Replicas, nonlinearity: str) -> tuple[Array, Array]:
    """The forward layer on differences, `[T, K * B, I]` to `[T, K * B, H]`."""
    trace, arithmetic = replicas.trace, replicas.arithmetic
    T, B, _ = trace.x.shape
    H = trace.h0.shape[1]
    weight_ih, weight_hh, _, _ = trace.cell
    a, deviation_a = pre_activation(trace, arithmetic)
    made_a = made_forward(trace, arithmetic)
    deviation_a = np.sqrt(deviation_a**2 + sum(made**2 for made in made_a))
    noise_a, signs = replicas.noise(a), [replicas.signs.draw((REPLICAS, 1, 1)) for _ in made_a]
    to_input, to_hidden = replicas.cast(weight_ih.T, weight_hh.T)
    a, deviation_a, *made_a = replicas.cast(a, deviation_a, *made_a)

    d = dh0
    output = np.empty((T, REPLICAS * B, H), replicas.dtype)
    moved = bool(dx.any())
    if nonlinearity == "tanh":
        slope = 1 / np.cosh(np.clip(np.asarray(a, np.float64), -300, 300)) ** 2
        error, throughout = arithmetic.tanh_error(trace.output)
        made_h = arithmetic.round(trace.output).astype(np.float64) - trace.output
        h, slope, error = replicas.cast(trace.output, slope, error)
        made_h, throughout, share_h = replicas.cast(
            made_h, throughout, tanh_shares(REPLICAS)[:, None, None]
        )
        noise_h, sign_h = replicas.noise(trace.output), replicas.signs.draw((REPLICAS, 1, 1))
    else:
        replicas.slopes = np.empty((T, REPLICAS, B, H), replicas.dtype)
    for t in range(T):
        d = d @ to_hidden
        if moved:
            d += dx[t] @ to_input
        da = d.reshape(REPLICAS, B, H)
        da += noise_a.at(t, deviation_a[t])
        for sign, made in zip(signs, made_a, strict=True):
            da += sign * made[t]
        if nonlinearity == "tanh":
            da = tanh_difference(a[t], h[t], slope[t], da)
            da += noise_h.at(t, error[t])
            da += sign_h * made_h[t]
            da += share_h * throughout[t]
        else:
            da = _relu_difference(replicas, t, a[t], da)
        variance = np.mean(np.square(da, dtype=np.float64), axis=0)
        replicas.widest[t] = np.sqrt(variance.max(axis=1))
        d = da.reshape(REPLICAS * B, H)
        output[t] = d
    return output, d


def pre_activation(
    trace: Trace, arithmetic: Arithmetic, h_before: Array | None = None
) -> tuple[Array, Array]:
    """Return what goes into the nonlinearity at every step, and the deviation of one step's errors.

    Args:
        trace: of a layer and direction, float64.
        arithmetic: of the dtype.
        h_before: the states that the steps start from, `[T, B, H]`; the trace's own if None.

    Returns:
        `[T, B, H]` each.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = trace.cell
    if h_before is None:
        h_before = np.concatenate((trace.h0[None], trace.output[:-1]))
    bias = bias_ih + bias_hh
    # An implementation may accumulate onto one bias, onto both, or onto what came before with or
    # without them, or make one sum of both products, in any order.
    onto = np.maximum(np.abs(bias_ih), np.abs(bias))
    from_x, error_x = arithmetic.dot(trace.x, weight_ih.T, onto)
    before = np.maximum(np.abs(from_x), np.abs(from_x + bias))
    from_h, error_h = arithmetic.dot(h_before, weight_hh.T, np.maximum(np.abs(bias_hh), before))
    both, together = np.concatenate((trace.x, h_before), 2), np.hstack((weight_ih, weight_hh))
    _, error_both = arithmetic.dot(both, together.T, onto)
    a = from_x + from_h + bias
    added = arithmetic.rounded(bias_ih, bias_hh, bias, from_x + bias, from_h, a)
    return a, np.sqrt(np.maximum(error_x + error_h, error_both) + added)


def one_step(
    trace: Trace, h_before: Array, arithmetic: Arithmetic, nonlinearity: str
) -> tuple[Array, Array]:
    """Return every step taken from given states, and the deviation of one step's rounding.

    Args:
        trace: of a layer and direction, float64.
        h_before: the states that the steps start from, `[T, B, H]`.
        arithmetic: the sizes of single rounding errors.
        nonlinearity: "tanh" or "relu".

    Returns:
        `[T, B, H]` each.
    """
    a, deviation = pre_activation(trace, arithmetic, h_before)
    if arithmetic.is_16_bit:
        # The state may be kept in float32, and be seen only as it is rounded.
        before = arithmetic.rounded(h_before) @ np.square(trace.cell.weight_hh).T
        deviation = np.sqrt(deviation**2 + before)
    if nonlinearity == "relu":
        return np.maximum(a, 0), np.where(a > -KINK * deviation, deviation, arithmetic.underflow)
    # The slope is taken where it is steepest within reach, since the step is no longer small there.
    nearest = np.clip(np.maximum(np.abs(a) - KINK * deviation, 0), 0, 300)
    moved = deviation / np.cosh(nearest) ** 2
    h = np.tanh(a)
    return h, np.sqrt(moved**2 + arithmetic.tanh_variance(h))


def made_forward(trace: Trace, arithmetic: Arithmetic) -> list[Array]:
    """The errors that two right computations of the pre-activations really make, `[T, B, H]` each.

    One adds up the recurrent product by itself, the other onto the input's, as a product of both
    side by side does.

    Signed, and the same for the same numbers: where terms, units or steps are alike, their errors
    are alike, too, and add up as random ones do not.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = (arithmetic.round(p) for p in trace.cell)
    h_before = arithmetic.round(np.concatenate((trace.h0[None], trace.output[:-1])))
    x = arithmetic.round(trace.x)
    shape = (*h_before.shape[:2], len(weight_hh))

    def flat(array: Array) -> Array:
        return array.reshape(-1, array.shape[-1])

    from_x, bias = arithmetic.sequential(flat(x), weight_ih.T), bias_ih + bias_hh
    alone = (from_x + bias) + arithmetic.sequential(flat(h_before), weight_hh.T)
    onto = arithmetic.sequential(flat(h_before), weight_hh.T, from_x) + bias
    x, h, w, r, b, c = arithmetic.higher(x, h_before, weight_ih, weight_hh, bias_ih, bias_hh)
    true = x @ w.T + h @ r.T + (b + c)
    return [np.asarray(made.reshape(shape) - true, np.float64) for made in (alone, onto)]


def tanh_difference(a: Array, h: Array, slope: Array, d: Array) -> Array:
    """`tanh(a + d) - h`: by the addition theorem, or directly where d is large enough."""
    large = np.abs(d) > 0.5
    direct = np.tanh(a + d) - h if large.any() else None
    tanh_d = np.tanh(np.clip(d, -0.5, 0.5))
    difference: Array = tanh_d * slope / (1 + h * tanh_d)
    return difference if direct is None else np.where(large, direct, difference)


def _relu_difference(replicas: Replicas, t: int, a: Array, d: Array) -> Array:
    """`relu(a + d) - relu(a)`, and what may be taken for relu's slope at this step.

    An element is within reach of the kink if a right implementation may be on its other side:
    within `KINK` deviations. Few replicas get there by chance, or none, so that

    - one that is not active, or that its error takes there, hands on as much of its error as the
      largest right one would, which would be `KINK` deviations less |a|, in most replicas: in
      `1 / EXACT` of them nothing is handed on, since what is may cancel what comes from elsewhere;
    - the slope is that of the replica's own side, plus or minus `ALIVE` or `DEAD`.
    """
    spread = np.sqrt(np.mean(np.square(d, dtype=np.float64), axis=0))
    # Where nothing but underflow can move it, zero stays zero, and there the derivative is 0.
    moved = (a != 0) | (spread > 1e3 * replicas.arithmetic.underflow)
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.where(moved, 1 - np.abs(a) / (KINK * spread), 0)
    reach = np.asarray(np.maximum(np.nan_to_num(reach, nan=0.0), 0), replicas.dtype)
    active = a > 0
    assert replicas.slopes is not None
    doubt = np.where(active, ALIVE, DEAD) * (reach > 0)
    replicas.slopes[t] = ((a + d > 0) & moved) + doubt * replicas.signs.draw(d.shape)
    exact = np.where(active, np.maximum(d, -a), np.maximum(a + d, 0))
    # What the kink would stop goes on, too: all replicas may be on its one side, which makes the
    # spread of what is behind it nothing.
    beyond = np.where(active & (d < -a), np.minimum(reach * d, -a), reach * d)
    stopped = np.where(active, d < -a, reach > 0)
    stopped[::EXACT] = False
    return np.where(stopped, beyond, exact)
