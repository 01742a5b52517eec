"""What the wrong part of a quantity equals: zero, a multiple of the truth, the truth elsewhere.

What is claimed explains every wrong element to within the limit, in the units of where it comes
from, and could not do so by chance.
"""

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rnnparity.judging.difference import told_apart
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.relation.orders import Order, orders
from rnnparity.judging.relation.parts import Mask, Part
from rnnparity.types import Array

NO_NUMBER = "not a number"

# With what probability, as -ln, a claim may hold by chance: 1e-13, since some 10^4 are tried for
# every failure. Elements count by how rare their values are among all that is true (`_evidence`).
CERTAIN = 30.0

# So many values, apart from each other, must agree: of a few, one number may make them all.
LEAST = 5

# Values that are nearer to each other than this share of the limit may be one: two units.
APART = 1 / 5

# The root mean square, in units, of what rounding makes is below 1; of what is merely similar it
# need not be. What differs from the truth by less than this many units is no evidence of either.
ROUNDING, TOLD_APART = 2.0, 2 * LIMIT

# What a wrong element comes from must be judged itself, or nothing is known of it: of most.
KNOWN = 3 / 4

# So many wrong elements must be zero, exactly, for zeros to be told.
ZEROS = 3

# How many elements stand for all where one claim is told from another, of a slice and of a whole;
# and how many slices are compared with all others.
OF_SLICE, OF_WHOLE, POPULATION, SLICES = 32, 256, 4096, 64

# After so many wrong slices that are like no other it is taken that none is.
UNLIKE = 4


class Other(NamedTuple):
    """What a quantity may equal in place of its truth, shaped as its part.

    Attributes:
        words: as they read after "equals".
        values: what it is.
        unit: of each.
        judged: where it is known.
        chosen: what of the evidence went into choosing it.
    """

    words: str
    values: Array
    unit: Array
    judged: Mask
    chosen: float = 0.0


class Equal(NamedTuple):
    """What all that is wrong of a quantity is.

    Attributes:
        words: "zero", or "the truth of ...".
        z: how nearly, in units; None if there is nothing to round.
        everywhere: whether what is right is that, too.
    """

    words: str
    z: float | None = None
    everywhere: bool = False


def equal(
    part: Part,
    factors: dict[str, float],
    others: Iterable[Other],
    initial: Array | None = None,
    believed: Collection[str] = (),
) -> Equal | None:
    """Return what all that is wrong equals; None if it is nothing that is known.

    Args:
        part: of which something is wrong.
        factors: by which a quantity is often off, and what they are.
        others: what else it may equal.
        initial: of an output, shaped as one of its steps: the state before the first.
        believed: what was shown of another quantity; if any, nothing else is claimed of this one,
            and no evidence is needed.
    """
    found = part.found[part.wrong]
    if not np.isfinite(found).any():
        return Equal(NO_NUMBER if np.isnan(found).all() else f"infinite, or {NO_NUMBER}")
    if len(found) >= ZEROS and (found == 0).all():
        return Equal("zero", everywhere=bool((part.found == 0).all()))
    if len(found) >= LEAST and (np.abs(found) == np.abs(found[0])).all():
        both = sorted({f"{float(one):.6g}" for one in (found.min(), found.max())})
        return Equal(" or ".join(both))
    for other in itertools.chain(_multiples(part, factors), _elsewhere(part, initial), others):
        if believed and other.words not in believed:
            continue
        z = explained(part, other, -math.inf if believed else CERTAIN)
        if z is not None:
            known = part.judged & other.judged
            error = np.abs(part.found - other.values)[known] / other.unit[known]
            return Equal(other.words, z, bool((error <= LIMIT).all()))
    return None


def explained(part: Part, other: Other, certain: float) -> float | None:
    """Return the largest error, in units, of what is wrong from something else; None if it differs.

    Args:
        part: of which something is wrong.
        other: what it may equal.
        certain: what evidence it takes.
    """
    known = part.wrong & other.judged
    if known.sum() < KNOWN * part.wrong.sum():
        return None
    some = np.flatnonzero(known)
    for sample in (some[:: max(1, len(some) // OF_SLICE)], some):
        found, values, unit = (a.flat[sample] for a in (part.found, other.values, other.unit))
        error = np.abs(found - values) / unit
        if not (error <= LIMIT).all():
            return None
    apart = np.abs(values - part.true.flat[some]) > TOLD_APART * unit
    evidence = _evidence(found[apart], unit[apart], other.values[other.judged])
    rounding = math.sqrt(np.mean(np.square(error, dtype=np.float64)))
    if rounding > ROUNDING or evidence < certain + other.chosen:
        return None
    return float(error.max())


def _evidence(found: Array, unit: Array, population: Array) -> float:
    """Return how unlikely it is that values agree by chance, as -ln of the probability.

    A value agrees by chance with what is as near to it among the population, and with a share of
    all numbers of that size. Of values that rounding alone may tell apart, as those of equal rows,
    one counts.
    """
    if not len(found):
        return 0.0
    some = slice(None, None, max(1, len(found) // OF_WHOLE))
    order = np.argsort(found[some])
    value, window = (a[some][order].astype(np.float64) for a in (found, LIMIT * unit))
    apart: list[int] = []
    last = -math.inf
    for k, one in enumerate(value):
        if one - last > APART * window[k]:
            apart.append(k)
            last = one
    value, window = value[apart], window[apart]
    if len(value) < LEAST:
        return 0.0
    all_values = np.unique(population.ravel()[:: max(1, population.size // POPULATION)])
    near = np.searchsorted(all_values, value + window, "right")
    near -= np.searchsorted(all_values, value - window, "left")
    spread = np.maximum(np.abs(value), np.std(all_values.astype(np.float64)))
    chance = np.maximum(near - 1, 0) / len(all_values) + 2 * window / np.maximum(spread, window)
    return float(-np.log(np.minimum(chance, 1)).sum())


def _multiples(part: Part, factors: dict[str, float]) -> Iterator[Other]:
    """Yield the truth times a factor, one of the usual ones if it fits."""
    size = np.abs(part.true / part.unit)
    some = np.flatnonzero(part.wrong & np.isfinite(part.found) & (part.true != 0))
    some = some[np.argsort(-size.flat[some])][:SLICES]
    if not len(some):
        return
    factor = float(np.median(part.found.flat[some] / part.true.flat[some]))
    usual: dict[float, list[str]] = {}
    for name, one in factors.items():
        usual.setdefault(one, []).extend([name] if name.strip() else [])
    for one, names in usual.items():
        if one != 1 and math.isclose(one, factor, rel_tol=1e-2):
            hint = f" ({' or '.join(names)})" if names else ""
            yield _times(part, one, f"times {one:.4g}{hint}")
    if factor != 0 and math.isfinite(factor):
        yield _times(part, -1.0, "with its sign reversed")
        yield _times(part, factor, f"times {told_apart(factor, 1.0)[0]}")


def _times(part: Part, factor: float, words: str) -> Other:
    # What found the factor is no evidence for it.
    chosen = CERTAIN / 2
    return Other(
        f"the truth {words}", factor * part.true, abs(factor) * part.unit, part.judged, chosen
    )


def _elsewhere(part: Part, initial: Array | None) -> Iterator[Other]:
    """Yield the truth in other orders along an axis, and with two axes exchanged."""
    for k, axis in enumerate(part.axes):
        wrong = _spread(part.along(k, part.wrong))
        holds = _held(part, k, wrong)
        if holds is None:
            continue
        beyond = {"zero": np.zeros_like(part.true.take(0, k))}
        if axis.name == "step" and initial is not None:
            beyond["h0"] = initial
        for order in orders(axis, wrong, holds):
            yield from _ordered(part, k, order, beyond)
    for k in range(len(part.axes) - 1):
        yield from _exchanged(part, k)


def _spread(indices: Sequence[int]) -> list[int]:
    """Return some of many indices: the first, the last, and others between."""
    if len(indices) <= SLICES:
        return list(indices)
    ends = [*indices[: SLICES // 4], *indices[-SLICES // 4 :]]
    return sorted({*ends, *indices[:: max(1, 2 * len(indices) // SLICES)]})


def _held(part: Part, axis: int, wrong: Sequence[int]) -> Mask | None:
    """Return which slices of the truth a wrong slice may hold, `[wrong, slices]`; None if none."""
    found, true, unit, judged, off = (
        np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1) for array in part[2:]
    )
    holds = np.zeros((len(wrong), len(true)), bool)
    empty = 0
    for row, i in enumerate(wrong):
        some = np.flatnonzero(off[i])
        some = some[:: max(1, len(some) // OF_SLICE)]
        near = np.abs(found[i, some] - true[:, some]) <= LIMIT * unit[:, some]
        known = judged[:, some]
        holds[row] = (near | ~known).all(axis=1) & (known.mean(axis=1) >= KNOWN)
        empty += not holds[row].any()
        if empty > UNLIKE and not holds.any():
            return None  # as for nearly all that is wrong
    return holds if holds.any() else None


def _ordered(part: Part, axis: int, order: Order, beyond: dict[str, Array]) -> Iterator[Other]:
    source = order.source()
    outside = np.flatnonzero(source < 0)
    values, unit, judged = (a.take(source, axis) for a in (part.true, part.unit, part.judged))
    chosen = order.free * math.log(order.size)
    wrong_outside = np.intersect1d(outside, part.along(axis, part.wrong))
    if not len(wrong_outside):
        yield Other(f"the truth {order.words}", values, unit, judged, chosen)
        return
    at = (slice(None),) * axis + (outside,)
    judged[at] = True
    unit[at] = part.unit[at]
    for what, value in beyond.items():
        values[at] = np.expand_dims(value, axis)
        words = f"the truth {order.words}, {what} where there is none"
        yield Other(words, values.copy(), unit, judged, chosen)


def _exchanged(part: Part, k: int) -> Iterator[Other]:
    """Yield the truth with two neighbouring axes exchanged, or reshaped as if they were."""
    one, other = (axis.plural for axis in part.axes[k : k + 2])
    shape = part.true.shape
    turned = (*shape[:k], shape[k + 1], shape[k], *shape[k + 2 :])
    square = shape[k] == shape[k + 1]
    words = f"with {one} and {other} " + ("transposed" if square else "reshaped, not transposed")
    if square and other == "columns":
        words = "transposed"
    for change in (
        lambda a: a.swapaxes(k, k + 1).reshape(shape),
        lambda a: a.reshape(turned).swapaxes(k, k + 1),
    ):
        yield Other(f"the truth {words}", *map(change, (part.true, part.unit, part.judged)))
