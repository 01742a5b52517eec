"""What a wrong result has to do with the truth: where it is wrong, and what it is there.

words     indices in words: "from step 256 on"
parts     a quantity by its axes
where     where it is wrong
equal     what the wrong part equals, and that this is no chance
orders    rules by which indices are exchanged: a roll, a reversal, tiles
states    other states that it may be
shares    of gradients: the share of some steps or rows
incoming  which gradient that comes in is counted
layer     the steps of a layer that is seen, and a network with something read from elsewhere
reading   which steps and rows of the input were read
wiring    which gates, units and columns of the parameters were
"""

import re
from collections.abc import Collection, Sequence
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from rnnparity.judging.reference import Reference
from rnnparity.judging.relation import shares, states
from rnnparity.judging.relation.equal import NO_NUMBER, Equal, equal
from rnnparity.judging.relation.parts import Part, part
from rnnparity.judging.relation.where import where, where_first
from rnnparity.judging.relation.words import listed
from rnnparity.problems.cases import Case
from rnnparity.problems.quantities import is_gradient, quantity
from rnnparity.types import Array

# From this share of wrong elements on, they need not be set apart from right ones. No more clauses
# and names are told than these: there is a reason to read after them.
MOST, CLAUSES, LISTED = 1 / 2, 2, 2

IN_PART = ", where wrong,"


class Related(NamedTuple):
    """What is said of the wrong quantities of a failure.

    Attributes:
        equal: where they are wrong and what they are there; "" if nothing is known.
        explained: what is said of each of those of which it is.
        where: of every quantity, where it is wrong; "" if everywhere, or in no pattern.
        began: of an output, where it is wrong at the first step that is.
        lowest: of a stack, what the final states of the lowest wrong layer are; "" if nothing.
    """

    equal: str
    explained: dict[str, str]
    where: dict[str, str]
    began: str
    lowest: str

    @property
    def complete(self) -> bool:
        """Whether it is said of all of them what they are, and more than that it is no number."""
        every = bool(self.explained) and self.where.keys() == self.explained.keys()
        return every and not self.no_number

    @property
    def no_number(self) -> bool:
        """Whether something is said to be no number, of which that is no explanation."""
        return any(words.endswith(NO_NUMBER) for words in self.explained.values())

    def begins(self, first: str) -> str:
        """Say where an output that nothing explains is wrong, and from which layer on; or "".

        Args:
            first: at which step it begins to be wrong; "" if it does not.
        """
        said = []
        if first and "output" not in self.explained:
            place = re.sub(r" ?from step \d+ on", "", self.where.get("output", ""))
            there = f", only {place}" if place else f", there only {self.began}"
            said.append(first + (there if place or self.began else ""))
        of_states = self.where.get("h_n", "")
        if self.lowest:
            said.append(self.lowest)
        elif "layer" in of_states and "h_n" not in self.explained:
            said.append(f"h_n is off {of_states}")
        return "; ".join(said)

    def off(self) -> str:
        """Say where something is off: an output, or gradients; "" if there is no pattern."""
        output = self.where.get("output")
        if output is not None:
            return output and f"off only {output}"
        by_place: dict[str, list[str]] = {}
        for name, place in self.where.items():
            by_place.setdefault(place, []).append(name)
        told = [f"{listed(n)} off only {place}" for place, n in by_place.items() if place]
        return "; ".join(told[:CLAUSES])


def related(
    case: Case, names: Sequence[str], arrays: dict[str, Array], reference: Reference
) -> Related:
    """Compare what is wrong with the truth at other places.

    Args:
        case: what was run.
        names: of the quantities that are off, all of the forward pass or all gradients.
        arrays: quantity to array, of the right shape, as the implementation returned it.
        reference: of the case.
    """
    parts = {name: part(case, name, arrays[name], reference) for name in names}
    now = [name for name in names if not quantity(name).is_next] or names
    parts = {name: parts[name] for name in now if parts[name].axes and parts[name].wrong.any()}
    nonlinearity = case.config.nonlinearity
    with np.errstate(all="ignore"):
        places = {name: where(of, reference, nonlinearity) for name, of in parts.items()}
        began = where_first(parts["output"], reference, nonlinearity) if "output" in parts else ""
        equals = {name: _equal(case, of, reference) for name, of in parts.items()}
        believed = {is_what.words for is_what in equals.values() if is_what}
        for name, of in parts.items():
            if believed and not equals[name]:  # what is shown elsewhere needs less evidence here
                equals[name] = _equal(case, of, reference, believed)
    told: dict[tuple[str, str], list[tuple[str, Equal]]] = {}
    for name, is_what in equals.items():
        if is_what:
            few = parts[name].wrong.sum() < MOST * parts[name].judged.sum()
            place = places[name] or (IN_PART if few else "")
            place = "" if is_what.everywhere else place
            told.setdefault((place, is_what.words), []).append((name, is_what))
    said = [_said(place, words, same, now) for (place, words), same in told.items()]
    explained = {name: is_what.words for name, is_what in equals.items() if is_what}
    lowest = "" if "h_n" in explained else _lowest(case, parts.get("h_n"), reference)
    return Related("; ".join(said[:CLAUSES]), explained, places, began, lowest)


def _lowest(case: Case, h_n: Part | None, reference: Reference) -> str:
    """Say what the final states of the lowest wrong layer are: those above are made from them."""
    if h_n is None or h_n.axis("layer") is None:
        return ""
    layer = h_n.along(0, h_n.wrong)[0]
    own = h_n.changed(h_n.axes[1:], itemgetter(layer))
    with np.errstate(all="ignore"):
        is_what = equal(own, _factors(case, False), ()) if own.axes else None
        place = where(own, reference, case.config.nonlinearity) if is_what else ""
    name = f"h_n of layer {layer}"
    return _said(place, is_what.words, [(name, is_what)], ["h_n"]) if is_what else ""


def _equal(
    case: Case, of: Part, reference: Reference, believed: Collection[str] = ()
) -> Equal | None:
    parameter = quantity(of.name).is_parameter
    others = shares.others(of, reference) if parameter else states.others(of, reference)
    factors = _factors(case, is_gradient(of.name))
    return equal(of, factors, others, states.initial(of, reference), believed)


def _factors(case: Case, gradient: bool) -> dict[str, float]:
    """Return the numbers by which a result is often off, with the sizes that they come from."""
    B, T = case.B or 1, case.T
    sizes = {"B": B, "T": T, "T B": T * B} if gradient else {}
    inverse = {f"1 / {name}": 1 / size for name, size in sizes.items()}
    return sizes | inverse | {"": 2.0, " ": 0.5}


def _said(place: str, words: str, same: Sequence[tuple[str, Equal]], off: Sequence[str]) -> str:
    """Say where quantities are wrong, what they are there, and that the rest is right.

    Args:
        place: "in row 3", "" for everywhere, or `IN_PART`.
        words: what they are.
        same: the quantities of which this is said.
        off: all that are off.
    """
    names = [name for name, _ in same]
    every = len(names) == len(off) and (len(off) > LISTED or is_gradient(off[0]))
    shown = names if len(names) <= LISTED else [*names[:LISTED], f"{len(names) - LISTED} more"]
    subject = "what is off" if every else listed(shown)
    if place:
        subject += place if place == IN_PART else f" {place}"
    z = [equal.z for _, equal in same if equal.z is not None]
    one = every or len(names) == 1
    verb = ("equals" if one else "equal") if z else ("is" if one else "are")
    right = ", right elsewhere" if place not in ("", IN_PART) else ""
    near = f" (within {max(z):.2g} units)" if z else ""
    return f"{subject} {verb} {words}{right}{near}"
