"""The operations of a cell's step: what each computes, and its derivative.

`judging.unit` has their differences and rounding errors.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnparity.cells.program import Program, Value
from rnnparity.types import Array


class Operation(NamedTuple):
    """One pointwise operation.

    `apply` computes it; `derivative` returns, given its arguments, its result and the result's
    gradient, the gradient of each argument, as further operations.
    """

    apply: Callable[..., Array]
    derivative: Callable[[Sequence[Value], Value, Value], tuple[Value, ...]]


def logistic(a: Array) -> Array:
    """Return 1 / (1 + exp(-a)), with a small relative error also where it is near 0."""
    small = np.exp(-np.abs(a))
    return np.asarray(np.where(a >= 0, 1, small) / (1 + small), a.dtype)


def _by_slope(name: str) -> Callable[[Sequence[Value], Value, Value], tuple[Value, ...]]:
    """The derivative of a function of one argument, whose slope is an operation on its result."""
    return lambda arguments, y, g: (g * y.program.add(name, y),)


def _of_product(arguments: Sequence[Value], y: Value, g: Value) -> tuple[Value, ...]:
    a, b = arguments
    return g * b, g * a


def _of_difference(arguments: Sequence[Value], y: Value, g: Value) -> tuple[Value, ...]:
    return g, g.program.add("negative", g)


def _none(*_: Any) -> tuple[Value, ...]:
    raise AssertionError("has no derivative")


OPERATIONS = {
    "sum": Operation(np.add, lambda arguments, y, g: (g, g)),
    "difference": Operation(np.subtract, _of_difference),
    "product": Operation(np.multiply, _of_product),
    "one minus": Operation(
        lambda a: 1 - a, lambda arguments, y, g: (g.program.add("negative", g),)
    ),
    "negative": Operation(np.negative, lambda arguments, y, g: (g.program.add("negative", g),)),
    "tanh": Operation(np.tanh, _by_slope("slope of tanh")),
    "sigmoid": Operation(logistic, _by_slope("slope of sigmoid")),
    "relu": Operation(lambda a: np.maximum(a, 0), _by_slope("slope of relu")),
    # Of each function by its result; relu's is 0 at 0.
    "slope of tanh": Operation(lambda y: 1 - y * y, _none),
    "slope of sigmoid": Operation(lambda y: y * (1 - y), _none),
    "slope of relu": Operation(lambda y: (y > 0).astype(y.dtype), _none),
}


def _lost(arguments: Sequence[Value], y: Value, g: Value) -> tuple[Value, ...]:
    return (g.program.add("nothing", g),)


# What only known mistakes compute (`judging.mistakes.gates`): no gradient passes.
OPERATIONS |= {
    # Keras 2's, and that of mobile networks.
    "hard sigmoid": Operation(lambda a: np.clip(a * 0.2 + 0.5, 0, 1).astype(a.dtype), _lost),
    "sixth sigmoid": Operation(lambda a: np.clip(a / 6 + 0.5, 0, 1).astype(a.dtype), _lost),
    "detached": Operation(lambda a: a, _lost),
    "nothing": Operation(lambda a: 0 * a, _lost),
}


def chain_rule(
    operation: str, arguments: Sequence[Value], result: Value, gradient: Value
) -> tuple[Value, ...]:
    """Return the gradient of each argument of an operation, as further values of its program."""
    return OPERATIONS[operation].derivative(arguments, result, gradient)


def run(program: Program, values: list[Array], last: int | None = None) -> None:
    """Append to the values what the first `last` instructions make of them; all if None."""
    for operation, arguments in program.code[:last]:
        values.append(OPERATIONS[operation].apply(*(values[k] for k in arguments)))
