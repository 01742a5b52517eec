"""Quantities: what is compared, under which name, and how each is laid out."""

import re
from dataclasses import dataclass
from functools import cache

from rnnparity.problems.cases import Case
from rnnparity.types import Array

# Arrays of states, one row for each layer and direction; every other array that has a batch has a
# time axis.
STATES = ("h0", "h_n", "c0", "c_n")


@dataclass(frozen=True)
class Quantity:
    """One array that comes out of a run, or goes into it.

    Attributes:
        name: as records have it: "output", "h_n", "next_output", "grad_x", "grad_weight_hh_l0", ...
        kind: what it is, or is the gradient of: "output", "h_n", "c_n", "x", "h0", "c0",
            "weight_ih", "bias_hh".
        is_gradient: whether it is the gradient of that.
        is_next: whether it is of the one more step.
        layer: of a parameter; None for what is no parameter's.
        reverse: whether it is a parameter of the reverse direction.
    """

    name: str
    kind: str
    is_gradient: bool = False
    is_next: bool = False
    layer: int | None = None
    reverse: bool = False

    @property
    def is_parameter(self) -> bool:
        """Whether it is a parameter or its gradient: all rows of a batch have a part in that."""
        return self.layer is not None

    @property
    def is_state(self) -> bool:
        """Whether it is laid out `[L * D, B, H]`, with no time axis."""
        return self.kind in STATES


@cache
def quantity(name: str) -> Quantity:
    """Return a quantity by its name."""
    parts = re.fullmatch(r"(next_)?(grad_)?(\w+?)(?:_l(\d+)(_reverse)?)?", name)
    if parts is None:
        raise ValueError(f"no quantity {name!r}")
    is_next, gradient, kind, layer, reverse = parts.groups()
    return Quantity(
        name=name,
        kind=kind,
        is_gradient=gradient is not None,
        is_next=is_next is not None,
        layer=None if layer is None else int(layer),
        reverse=reverse is not None,
    )


def of_weights(name: str) -> bool:
    """Return whether a quantity is a gradient of a parameter."""
    return quantity(name).is_parameter


def is_gradient(name: str) -> bool:
    """Return whether a quantity is a gradient."""
    return quantity(name).is_gradient


def time_major(case: Case, name: str, array: Array) -> Array:
    """Return a quantity as `[T, B, features]` or `[L * D, B, H]`, whatever the case's layout is.

    Args:
        case: says the layout.
        name: "x", "h0", "lengths", or a quantity; what has no batch is returned as it is.
        array: laid out as the case says.
    """
    of = quantity(name)
    if of.is_parameter:
        return array
    if case.B is None:
        return array[:, None]
    return array.swapaxes(0, 1) if case.config.batch_first and not of.is_state else array
