"""A cell's step, written once as a formula and traced into a straight-line program.

A step is the pointwise part of a recurrent layer: it takes what the input and the state before
bring to each gate (two matrix products, biases included) and the states before, and returns the
states after. It is written over `Value`s, with `+`, `*`, `1 -` and the functions of `operations`.
Traced once, the program serves all readings: values in any precision, gradients (the chain rule,
appended as further instructions), and differences (`judging.unit`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from rnnparity.cells import operations
from rnnparity.cells.program import Program, Value
from rnnparity.types import Array


def tanh(a: Value) -> Value:
    """The hyperbolic tangent."""
    return a.program.add("tanh", a)


def sigmoid(a: Value) -> Value:
    """The logistic function, 1 / (1 + exp(-a))."""
    return a.program.add("sigmoid", a)


def relu(a: Value) -> Value:
    """The larger of a and 0."""
    return a.program.add("relu", a)


# From the input's part of every gate, the state's part of every gate, and the states before, to the
# states after, the first of which is the output.
Step = Callable[[Sequence[Value], Sequence[Value], Sequence[Value]], tuple[Value, ...]]


@dataclass(frozen=True)
class Traced:
    """A cell's step as a program, forward and backward.

    The program's inputs are the input's part of each of G gates, the state's part of each, the
    states before, and the gradients of the states after.

    Attributes:
        program: all of it.
        gates: G.
        states: how many states there are.
        forward: how many instructions are the step itself; the others are its gradient.
        after: the numbers of the states after.
        grad_input: the numbers of the gradients of the input's part of each gate.
        grad_state: of the state's part of each gate.
        grad_before: of the states before, as far as they do not pass through the gates; None where
            there is no such path.
    """

    program: Program
    gates: int
    states: int
    forward: int
    after: tuple[int, ...]
    grad_input: tuple[int, ...]
    grad_state: tuple[int, ...]
    grad_before: tuple[int | None, ...]


@cache
def traced(step: Step, gates: int, states: int) -> Traced:
    """Trace a step, and append its derivative by the chain rule.

    Args:
        step: the formula.
        gates: G.
        states: how many states there are.
    """
    program = Program(2 * gates + 2 * states)
    given = [program.value(k) for k in range(program.inputs)]
    x, h = given[:gates], given[gates : 2 * gates]
    before, upstream = given[2 * gates : 2 * gates + states], given[2 * gates + states :]
    after = step(x, h, before)
    forward = len(program.code)
    gradients: dict[int, Value] = {}

    def accumulate(number: int, gradient: Value) -> None:
        present = gradients.get(number)
        gradients[number] = gradient if present is None else present + gradient

    for value, gradient in zip(after, upstream, strict=True):
        accumulate(value.number, gradient)
    for k in reversed(range(forward)):
        number = program.inputs + k
        if number not in gradients:
            continue
        operation, arguments = program.code[k]
        values = [program.value(a) for a in arguments]
        parts = operations.chain_rule(operation, values, program.value(number), gradients[number])
        for argument, part in zip(arguments, parts, strict=True):
            accumulate(argument, part)

    def of(value: Value) -> int | None:
        return gradients[value.number].number if value.number in gradients else None

    def required(values: Sequence[Value]) -> tuple[int, ...]:
        """The gradients' numbers; of what the step does not use, zeros."""
        found = [(value, of(value)) for value in values]
        return tuple(
            program.add("nothing", value).number if number is None else number
            for value, number in found
        )

    return Traced(
        program=program,
        gates=gates,
        states=states,
        forward=forward,
        after=tuple(value.number for value in after),
        grad_input=required(x),
        grad_state=required(h),
        grad_before=tuple(of(value) for value in before),
    )


def split(a: Array, parts: int) -> list[Array]:
    """Return an array's last axis in so many equal parts: the rows of each gate."""
    return np.split(a, parts, axis=-1) if parts > 1 else [a]
