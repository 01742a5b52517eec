"""What the operations of a step make of differences, exactly, also where they are large.

Each function here takes an operation's place along a trajectory: given the replicas, the number of
its result, the numbers of its arguments and all values at every step, `[T, B, H]`, it returns what
turns a step's number and the arguments' differences, `[K, B, H]`, into the result's.
"""

from collections.abc import Callable, Sequence

import numpy as np

from rnnparity.cells.operations import logistic
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.unit.replicas import Replicas
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

# Beyond this a difference of a function is taken directly; below the other one tanh(d) is d, and
# expm1(d) is d + d^2 / 2, as exactly as float32 has it.
LARGE, SMALL = 0.5, 2.0**-12

Change = Callable[..., Array]


def _sum(r: Replicas, number: int, arguments: Sequence[int], values: list[Array]) -> Change:
    return lambda t, da, db: da + db


def _difference(r: Replicas, number: int, arguments: Sequence[int], values: list[Array]) -> Change:
    return lambda t, da, db: da - db


def _product(r: Replicas, number: int, arguments: Sequence[int], values: list[Array]) -> Change:
    a, b = (values[k] for k in arguments)
    return lambda t, da, db: a[t] * db + da * (b[t] + db)


def _negative(r: Replicas, number: int, arguments: Sequence[int], values: list[Array]) -> Change:
    return lambda t, d: -d


def _zero(r: Replicas, number: int, arguments: Sequence[int], values: list[Array]) -> Change:
    return lambda t, d: 0 * d


def _tanh(r: Replicas, number: int, arguments: Sequence[int], values: list[Array]) -> Change:
    """`tanh(a + d) - tanh(a) = tanh(d) sech^2(a) / (1 + tanh(a) tanh(d))`."""
    a, h = values[arguments[0]], values[number]
    (slope,) = r.cast(1 / np.cosh(np.clip(np.asarray(a, np.float64), -300, 300)) ** 2)

    def change(t: int, d: Array) -> Array:
        largest = max(d.max(), -d.min())
        moved = d if largest < SMALL else np.tanh(np.clip(d, -LARGE, LARGE))
        found: Array = moved * slope[t] / (1 + h[t] * moved)
        if largest <= LARGE:
            return found
        return np.where(np.abs(d) > LARGE, np.tanh(a[t] + d) - h[t], found)

    return change


def _sigmoid(r: Replicas, number: int, arguments: Sequence[int], values: list[Array]) -> Change:
    """`s(a + d) - s(a) = s(a) s(-a) expm1(d) / (1 + s(a) expm1(d))`."""
    a, s = values[arguments[0]], values[number]
    slope = s * logistic(-a)

    def change(t: int, d: Array) -> Array:
        largest = max(d.max(), -d.min())
        grown = d * (1 + d / 2) if largest < SMALL else np.expm1(np.clip(d, -LARGE, LARGE))
        found: Array = slope[t] * grown / (1 + s[t] * grown)
        if largest <= LARGE:
            return found
        return np.where(np.abs(d) > LARGE, logistic(a[t] + d) - s[t], found)

    return change


def _tanh_slope(r: Replicas, number: int, arguments: Sequence[int], values: list[Array]) -> Change:
    twice = 2 * values[arguments[0]]
    return lambda t, d: -(twice[t] + d) * d


def _sigmoid_slope(
    r: Replicas, number: int, arguments: Sequence[int], values: list[Array]
) -> Change:
    rest = 1 - 2 * values[arguments[0]]
    return lambda t, d: (rest[t] - d) * d


def _relu(r: Replicas, number: int, arguments: Sequence[int], values: list[Array]) -> Change:
    a = values[arguments[0]]
    slopes = r.slopes[number] = np.empty((len(a), r.count, *a.shape[1:]), r.dtype)
    underflow = r.arithmetic.underflow

    def change(t: int, d: Array) -> Array:
        found, slopes[t] = relu_difference(r, a[t], d, underflow)
        return found

    return change


def _relu_slope(r: Replicas, number: int, arguments: Sequence[int], values: list[Array]) -> Change:
    own, slopes = values[number], r.slopes[arguments[0]]
    return lambda t, d: slopes[t] - own[t]


CHANGES: dict[str, Callable[[Replicas, int, Sequence[int], list[Array]], Change]] = {
    "sum": _sum,
    "difference": _difference,
    "product": _product,
    "one minus": _negative,
    "negative": _negative,
    "nothing": _zero,
    "tanh": _tanh,
    "sigmoid": _sigmoid,
    "relu": _relu,
    "slope of tanh": _tanh_slope,
    "slope of sigmoid": _sigmoid_slope,
    "slope of relu": _relu_slope,
}


def relu_difference(
    replicas: Replicas, a: Array, d: Array, underflow: float
) -> tuple[Array, Array]:
    """`relu(a + d) - relu(a)`, and what may be taken for relu's slope, `[K, B, H]` each.

    An element is within reach of the kink if a right implementation may be on its other side:
    within `KINK` deviations. Few replicas get there by chance, or none, so that

    - one that is not active, or that its error takes there, hands on as much of its error as the
      largest right one would, which would be `KINK` deviations less |a|, in most replicas: in
      `1 / EXACT` of them nothing is handed on, since what is may cancel what comes from elsewhere;
    - the slope is that of the replica's own side, plus or minus `ALIVE` or `DEAD`.
    """
    spread = np.sqrt(np.mean(np.square(d, dtype=np.float64), axis=0))
    # Where nothing but underflow can move it, zero stays zero, and there the derivative is 0.
    moved = (a != 0) | (spread > 1e3 * underflow)
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.where(moved, 1 - np.abs(a) / (KINK * spread), 0)
    reach = np.asarray(np.maximum(np.nan_to_num(reach, nan=0.0), 0), replicas.dtype)
    active = a > 0
    doubt = np.where(active, ALIVE, DEAD) * (reach > 0)
    slopes = ((a + d > 0) & moved) + doubt * replicas.signs.draw(d.shape)
    exact = np.where(active, np.maximum(d, -a), np.maximum(a + d, 0))
    # What the kink would stop goes on, too: all replicas may be on its one side, which makes the
    # spread of what is behind it nothing.
    beyond = np.where(active & (d < -a), np.minimum(reach * d, -a), reach * d)
    stopped = np.where(active, d < -a, reach > 0)
    stopped[::EXACT] = False
    return np.where(stopped, beyond, exact), slopes
