"""Quantities: what is compared, by name, and how each is laid out."""

from typing import Any

from numpy.typing import NDArray

from rnnparity.problems.cases import Case

Array = NDArray[Any]


def time_major(case: Case, name: str, array: Array) -> Array:
    """Return a quantity as `[T, B, features]` or `[L * D, B, H]`, whatever the case's layout is.

    Args:
        case: says the layout.
        name: "x", "h0", "lengths", or a quantity; what has no batch is returned as it is.
        array: laid out as the case says.
    """
    if of_weights(name) or name.startswith(("weight", "bias")):
        return array
    if case.B is None:
        return array[:, None]
    states = name.removeprefix("next_").removeprefix("grad_") in ("h0", "h_n")
    return array.swapaxes(0, 1) if case.config.batch_first and not states else array


def of_weights(name: str) -> bool:
    """Return whether a quantity is a gradient of a parameter: all rows have a part in it."""
    return name.startswith(("grad_weight", "grad_bias"))
