"""Straight-line programs of pointwise operations, and the values that they are written over."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Instruction(NamedTuple):
    """One operation: its name in `OPERATIONS`, and the numbers of its arguments."""

    operation: str
    arguments: tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """A number of a program under construction."""

    program: "Program"
    number: int

    def __add__(self, other: "Value") -> "Value":
        """Return the sum."""
        return self.program.add("sum", self, other)

    def __sub__(self, other: "Value") -> "Value":
        """Return the difference."""
        return self.program.add("difference", self, other)

    def __mul__(self, other: "Value") -> "Value":
        """Return the product."""
        return self.program.add("product", self, other)

    def __rsub__(self, one: int) -> "Value":
        """Return `1 - self`."""
        assert one == 1
        return self.program.add("one minus", self)


@dataclass
class Program:
    """A straight-line program on arrays `[..., B, H]`.

    Attributes:
        inputs: how many of its values are given; they have the first numbers.
        code: what makes the others, in order.
    """

    inputs: int
    code: list[Instruction] = field(default_factory=list)

    def value(self, number: int) -> Value:
        """Return a value by its number."""
        return Value(self, number)

    def add(self, operation: str, *arguments: Value) -> Value:
        """Append an operation, or return what it made when it was appended before."""
        instruction = Instruction(operation, tuple(a.number for a in arguments))
        if instruction not in self.code:
            self.code.append(instruction)
        return Value(self, self.inputs + self.code.index(instruction))
