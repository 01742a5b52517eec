"""A quantity taken apart: its dimensions by name, what was found along them, and what is true."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnparity.cells.config import KINDS
from rnnparity.judging.difference import judged_part, z_scores
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.reference import Reference
from rnnparity.judging.relation.words import Axis
from rnnparity.problems.cases import Case
from rnnparity.problems.quantities import quantity
from rnnparity.types import Array

DIRECTIONS = ("forward", "reverse")

Mask = NDArray[np.bool_]


class Part(NamedTuple):
    """A quantity, shaped by its axes; those of size 1 are left out.

    Attributes:
        name: of the quantity.
        axes: one per dimension.
        found: what the implementation returned, in the truth's precision.
        true: the truth.
        unit: of every element.
        judged: where a difference means something.
        wrong: where it is judged, and beyond the limit.
    """

    name: str
    axes: tuple[Axis, ...]
    found: Array
    true: Array
    unit: Array
    judged: Mask
    wrong: Mask

    def changed(self, axes: tuple[Axis, ...], change: Callable[[Any], Any]) -> "Part":
        """Return the part with other axes, all its arrays changed alike."""
        return Part(self.name, axes, *map(change, self[2:]))

    def along(self, axis: int, mask: Mask) -> list[int]:
        """Return the indices of an axis at which a mask holds anywhere."""
        others = tuple(k for k in range(mask.ndim) if k != axis)
        return [int(i) for i in np.flatnonzero(mask.any(axis=others))]

    def axis(self, name: str) -> int | None:
        """Return which dimension has a name; None if none has."""
        names = [axis.name for axis in self.axes]
        return names.index(name) if name in names else None


def part(case: Case, name: str, array: Array, reference: Reference) -> Part:
    """Take a quantity apart.

    Args:
        case: what was run.
        name: of the quantity.
        array: as the implementation returned it, of the right shape.
        reference: of the case.
    """
    found = judged_part(case, name, array, reference)
    true = reference.true.values[name]
    every = _axes(case, name, reference, true.shape)
    axes = tuple(axis for axis in every if len(axis.labels) > 1)
    shape = tuple(len(axis.labels) for axis in axes)
    wrong = z_scores(found, name, reference) > LIMIT
    arrays = (found.astype(true.dtype), true, reference.units[name], reference.judged[name], wrong)
    return Part(name, axes, *(array.reshape(shape) for array in arrays))


def _axes(case: Case, name: str, reference: Reference, shape: tuple[int, ...]) -> list[Axis]:
    config, of = case.config, quantity(name)
    directions = Axis("direction", DIRECTIONS[: config.num_directions])
    units = _numbered("unit", config.hidden_size)
    if of.is_parameter:
        axes = [Axis("gate", KINDS[config.kind].gates), units]
        return axes if len(shape) == 1 else [*axes, _numbered("column", shape[1])]
    rows = Axis("row", tuple(int(row) for row in reference.problem.rows))
    if of.is_state:
        return [_numbered("layer", config.num_layers), directions, rows, units]
    steps = _numbered("step", shape[0])
    if of.kind == "output":
        return [steps, rows, directions, units]
    return [steps, rows, _numbered("input", shape[2])]


def _numbered(name: str, size: int) -> Axis:
    return Axis(name, tuple(range(size)))
