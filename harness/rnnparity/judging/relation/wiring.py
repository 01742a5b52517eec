"""Which parameters a layer has in another order: by gates, or by units.

What a layer makes of other rows of a weight can be told from its first wrong step, where the state
before is right.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rnnparity.cells.config import KINDS, Cell
from rnnparity.judging.mistakes import Mistake
from rnnparity.judging.relation.layer import ROWS, Layer, run
from rnnparity.judging.relation.orders import FIRST, Order, orders
from rnnparity.judging.relation.words import Axis, listed
from rnnparity.types import Array

# What may be in another order, and what then is, too.
TOGETHER = (
    ("weight_ih",),
    ("weight_hh",),
    ("bias_ih",),
    ("bias_hh",),
    ("weight_ih", "bias_ih"),
    ("weight_hh", "bias_hh"),
    ("bias_ih", "bias_hh"),
)

# For how many units each is tried in place of each other, and for how many each column is.
UNITS, SOME = 256, 16


def mistakes(layer: Layer) -> Iterator[Mistake]:
    """Yield orders of parameters that make what was found at the first wrong step."""
    t = layer.start
    rows = np.flatnonzero(layer.wrong[t].any(axis=1))[:ROWS]
    step = _Step(layer, rows, [state[rows] for state in layer.before(t)])
    gates = KINDS[layer.kind].gates
    yield from _gates(step, gates)
    wrong = [int(j) for j in np.flatnonzero(layer.wrong[t, rows].any(axis=0))]
    yield from _terms(step, wrong[:SOME])
    if 1 < layer.found.shape[2] <= UNITS:
        for which in TOGETHER:
            for gate in (None, *range(len(gates))) if len(gates) > 1 else (None,):
                of = "" if gate is None else f", in gate {gates[gate]}"
                yield from _units(step, wrong, which, gate, of)


class _Step(NamedTuple):
    """The first wrong step of some rows."""

    layer: Layer
    rows: Array
    before: list[Array]

    def parts(self) -> dict[str, Array]:
        """Return what each parameter brings to every gate of every unit, `[R, G, H]`."""
        cell, (R, H) = self.layer.trace.cell, self.before[0].shape
        parts = {
            "weight_ih": self.layer.trace.x[self.layer.start, self.rows] @ cell.weight_ih.T,
            "weight_hh": self.before[0] @ cell.weight_hh.T,
            "bias_ih": np.broadcast_to(cell.bias_ih, (R, len(cell.bias_ih))),
            "bias_hh": np.broadcast_to(cell.bias_hh, (R, len(cell.bias_hh))),
        }
        return {name: value.reshape(R, -1, H) for name, value in parts.items()}

    def made(self, parts: dict[str, Array], before: list[Array]) -> Array:
        """Return the state that is made of parts, `[..., G, n]`, and states, `[..., n]`."""
        from_x, from_h = (parts[f"weight_{w}"] + parts[f"bias_{w}"] for w in ("ih", "hh"))
        x, h = (a.reshape(*a.shape[:-2], -1) for a in np.broadcast_arrays(from_x, from_h))
        return self.layer.after(x, h, before)[0]

    def near(self, made: Array, found: Array) -> Array:
        """Return where something else is what was found."""
        return np.asarray(np.abs(made - found) <= self.layer.limit[self.layer.start])

    @property
    def found(self) -> Array:
        """What was found, `[R, H]`."""
        return np.asarray(self.layer.found[self.layer.start, self.rows])


def _gates(step: _Step, names: Sequence[str]) -> Iterator[Mistake]:
    _, *places = itertools.permutations(range(len(names)))
    if not places:
        return
    for which in TOGETHER:
        parts = step.parts()
        for name in which:
            parts[name] = parts[name][:, places].swapaxes(0, 1)  # [orders, R, G, H]
        near = step.near(step.made(parts, step.before), step.found)
        for k in np.flatnonzero(near.all(axis=(1, 2))):
            order = list(places[k])
            words = f"the gates of {listed(which)} in the order {' '.join(names[k] for k in order)}"

            def change(cell: Cell, which: Sequence[str] = which, order: list[int] = order) -> Cell:
                return _changed(cell, which, lambda parameter: parameter[order])

            yield _mistake(words, change)


def _terms(step: _Step, units: list[int]) -> Iterator[Mistake]:
    """Try products of which the first or the last terms are left out, or one, for some units."""
    cell, H = step.layer.trace.cell, step.found.shape[1]
    read = {
        "weight_ih": step.layer.trace.x[step.layer.start, step.rows],
        "weight_hh": step.before[0],
    }
    before, found = [state[:, units] for state in step.before], step.found[:, units]
    for name, factor in read.items():
        parts = {other: value[:, :, units] for other, value in step.parts().items()}
        weight = getattr(cell, name).reshape(-1, H, factor.shape[1])[:, units]
        each = factor[:, None, None, :] * weight  # [R, G, units, columns]
        up_to, whole = np.cumsum(each, axis=3), each.sum(axis=3, keepdims=True)
        n = np.arange(factor.shape[1])
        for words, sums, out in (
            ("column {} of {}", whole - each, n[:, None] == n),
            ("columns from {} on of {}", up_to - each, n[:, None] <= n),
            ("columns up to {} of {}", whole - up_to, n[:, None] >= n),
        ):
            parts[name] = np.moveaxis(sums, 3, 0)
            near = step.near(step.made(parts, before), found)
            for k in np.flatnonzero(near.all(axis=(1, 2))):
                yield _mistake(f"{words.format(k, name)} left out", _without(name, out[k]))


def _without(name: str, out: Array) -> Callable[[Cell], Cell]:
    """Return what sets columns of a weight to zero; another layer's has perhaps other columns."""

    def change(cell: Cell) -> Cell:
        weight = getattr(cell, name)
        if weight.shape[1] != len(out):
            return cell
        return cell._replace(**{name: np.where(out, weight.dtype.type(0), weight)})

    return change


def _units(
    step: _Step, wrong: list[int], which: Sequence[str], gate: int | None, of: str
) -> Iterator[Mistake]:
    """Try what a unit has in some parameters, in all gates or one, for every other; or nothing."""
    H = step.found.shape[1]
    holds = np.zeros((len(wrong), H + 1), bool)
    for first, last in ((0, FIRST), (FIRST, len(wrong))):  # a few show that nothing fits
        some = wrong[first:last]
        made = _with_others(step, which, gate, some)
        holds[first:last] = step.near(made, step.found[:, some, None]).all(axis=0)
        if not holds[:last].any(axis=1).all():
            return
    axis = Axis("unit", tuple(range(H)))
    found = [order for order in orders(axis, wrong, holds[:, :H]) if not order.free]
    if holds[:, H].all():
        found.insert(0, Order("left out", H, lambda i: np.full_like(i, -1)))
    for order in found:
        for own in order.also_only(axis, wrong):

            def change(cell: Cell, own: Order = own) -> Cell:
                return _changed(cell, which, lambda parameter: _of_gate(parameter, own, gate))

            yield _mistake(own.of(listed(which)) + of, change)


def _with_others(step: _Step, which: Sequence[str], gate: int | None, units: list[int]) -> Array:
    """Return what units would make of each other unit's rows of some parameters, or of none.

    Returns:
        `[R, units, H + 1]`, the last of them with no such rows.
    """
    parts = step.parts()
    R, G, H = parts["weight_ih"].shape
    for name, value in parts.items():
        own = np.repeat(value[:, :, units, None], H + 1, axis=3)
        if name in which:
            gates = slice(None) if gate is None else slice(gate, gate + 1)
            own[:, gates, :, :H] = value[:, gates, None, :]
            own[:, gates, :, H] = 0
        parts[name] = own.reshape(R, G, -1)
    before = [np.repeat(state[:, units], H + 1, axis=1) for state in step.before]
    return step.made(parts, before).reshape(R, len(units), H + 1)


def _changed(cell: Cell, which: Sequence[str], change: Callable[[Array], Array]) -> Cell:
    """Change some parameters, each shaped `[G, H, ...]`."""
    H, changed = cell.weight_hh.shape[1], {}
    for name in which:
        parameter = getattr(cell, name)
        of_gates = parameter.reshape(-1, H, *parameter.shape[1:])
        changed[name] = np.ascontiguousarray(change(of_gates)).reshape(parameter.shape)
    return cell._replace(**changed)


def _of_gate(parameter: Array, order: Order, gate: int | None) -> Array:
    taken = order.taken(parameter, 1)
    if gate is None:
        return taken
    kept = parameter.copy()
    kept[gate] = taken[gate]
    return kept


def _mistake(name: str, change: Callable[[Cell], Cell]) -> Mistake:
    return Mistake(name, "found by search", lambda s: run(s, change=change))
