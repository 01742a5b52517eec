"""Where a quantity is wrong, in words: which rows, steps, units, gates; the rest is right."""

import math
from functools import partial
from operator import itemgetter

import numpy as np

from rnnparity.cells.network import in_cell_order
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.reference import Reference
from rnnparity.judging.relation.parts import DIRECTIONS, Mask, Part
from rnnparity.judging.relation.words import told
from rnnparity.types import Array

# A part that is right is told from one that merely happens to be: were its elements wrong as often
# as those of the wrong part, none would be so with this probability (1e-6), as -ln.
SURELY_RIGHT = 13.8

# Of what is wrong so much may be less wrong than a fault that would show elsewhere.
MOST = 1 / 4

# So few wrong elements have no pattern.
FEW = 3

# In which order the axes are told.
ORDER = ("layer", "direction", "gate", "row", "unit", "input", "column", "step")


def where(part: Part, reference: Reference, nonlinearity: str) -> str:
    """Say where something is wrong; "" if that is everywhere, or in no pattern.

    Args:
        part: of which something is wrong.
        reference: of the case.
        nonlinearity: of the case: what a unit is that nothing can move.
    """
    if part.wrong.sum() < FEW:
        return ""
    showing = _showing(part, nonlinearity)
    lengths = reference.true.lengths
    words = {}
    for k, axis in enumerate(part.axes):
        wrong = part.along(k, part.wrong)
        right = _surely_right(part, k, wrong, showing)
        words[axis.name] = told(axis, wrong, right) or ""
        if axis.name == "row" and right and lengths is not None:
            shorter = np.flatnonzero(lengths < len(reference.true.traces[0].x))
            if wrong == list(shorter):
                words["row"] = "in the sequences shorter than T"
    if lengths is not None and part.axes[0].name == "step":
        words |= _by_length(part, lengths, showing)
    return " ".join(filter(None, (words.get(name, "") for name in ORDER)))


def where_first(part: Part, reference: Reference, nonlinearity: str) -> str:
    """Say in which units or rows an output is wrong at the first step that is, in a cell's order.

    Later steps are made from all units of the ones before: only the first shows where it began.
    """
    directions = part.axis("direction")
    lengths = reference.true.lengths
    if "step" not in [axis.name for axis in part.axes]:
        return ""
    found = set()
    for d in range(1 if directions is None else len(DIRECTIONS)):
        own = part if directions is None else _of_direction(part, directions, d)
        if not own.wrong.any():
            continue
        if d == 1:
            own = own.changed(own.axes, partial(_in_order, own=own, lengths=lengths))
        step = own.along(0, own.wrong)[0]
        first = own.changed(own.axes[1:], itemgetter(step))
        if not first.axes:
            return ""
        found.add(where(first, reference, nonlinearity))
    return found.pop() if len(found) == 1 else ""


def _of_direction(part: Part, axis: int, d: int) -> Part:
    axes = (*part.axes[:axis], *part.axes[axis + 1 :])
    return part.changed(axes, lambda array: array.take(d, axis))


def _in_order(array: Array, own: Part, lengths: Array | None) -> Array:
    """Turn `[T, (R,) (H)]` round, each sequence from its own end."""
    if own.axis("row") is None:
        return array[::-1]
    whole = array.reshape(*array.shape[:2], -1)
    turned: Array = in_cell_order(whole, lengths, True)
    return turned.reshape(array.shape)


def _showing(part: Part, nonlinearity: str) -> Mask:
    """Return where a fault would show that is as large as most of what is wrong, or in proportion.

    It would not in units that are dead, or saturated.
    """
    size, error = np.abs(part.true), np.abs(part.found - part.true)
    seen = part.wrong & np.isfinite(error)
    if not seen.any():
        return part.judged
    smallest, share = (
        np.quantile(fault[seen].astype(np.float64), MOST, method="lower")
        for fault in (error, error / size)
    )
    showing: Mask = part.judged & (np.minimum(smallest, share * size) > LIMIT * part.unit)
    if part.name in ("output", "h_n") and nonlinearity == "tanh":
        showing &= size + LIMIT * part.unit < 1
    return showing


def _surely_right(part: Part, axis: int, wrong: list[int], showing: Mask) -> list[int]:
    """Return the indices of an axis at which nothing is wrong, if that is no chance."""
    others = [
        part.along(k, part.wrong) if k != axis else list(range(n))
        for k, n in enumerate(part.wrong.shape)
    ]
    box = np.ix_(*others)
    off, seen = (np.moveaxis(mask[box], axis, 0) for mask in (part.wrong, showing | part.wrong))
    off, seen = (mask.reshape(len(mask), -1) for mask in (off, seen))
    right = [int(i) for i in np.flatnonzero(seen.any(axis=1) & ~off.any(axis=1))]
    return right if _is_no_chance(off[wrong], seen[wrong], seen[right]) else []


def _is_no_chance(off: Mask, seen: Mask, right: Mask) -> bool:
    """Whether one part is right: what is `off` and `seen` in another, and what is `right` in it."""
    share = (off.sum() + 1) / (seen.sum() + 2)
    return bool(-math.log1p(-share) * right.sum() > SURELY_RIGHT)


def _by_length(part: Part, lengths: Array, showing: Mask) -> dict[str, str]:
    """Say what lies by the ends of sequences of unequal length."""
    if part.axis("row") is None:
        return {}
    steps = np.arange(part.wrong.shape[0])[:, None]
    off, seen = part.wrong, showing | part.wrong
    ends: tuple[tuple[str, Mask], ...] = (
        ("in the padding", steps >= lengths),
        ("at the last step of each sequence", steps == lengths - 1),
    )
    for words, holds in ends:
        shown = not off[~holds].any() and _is_no_chance(off[holds], seen[holds], seen[~holds])
        if shown and (words == "in the padding" or off[holds].mean() > 1 - MOST):
            return {"step": words, "row": ""}
    return {}
