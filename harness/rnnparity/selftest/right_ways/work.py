"""`Work`: the arithmetic of a way, as what is computed with it sees it."""

from typing import Protocol

from rnnparity.types import Array


class Work(Protocol):
    """What steps, gates and gradients are computed with (`kernel.Kernel`)."""

    def round(self, values: Array) -> Array:
        """Return a result as it is kept."""

    def dot(self, a: Array, b: Array, onto: Array | None = None) -> Array:
        """Return `onto + a @ b`, rounded once, as it is kept."""

    def unrounded(self, a: Array, b: Array, onto: Array | None = None) -> Array:
        """Return `onto + a @ b`, as the accumulator has it."""

    def multiply_add(self, a: Array, b: Array, c: Array) -> Array:
        """Return `a b + c`, rounded twice or once."""

    def add_products(self, a: Array, b: Array, c: Array, d: Array) -> Array:
        """Return `a b + c d`, every operation rounded, or one product not."""

    def tanh(self, a: Array) -> Array:
        """Return tanh, rounded."""

    def logistic(self, a: Array) -> Array:
        """Return the logistic function, rounded."""

    def slope(self, h: Array, a: Array) -> Array:
        """Return the derivative of tanh at a, where it is h."""

    def logistic_slope(self, s: Array, a: Array) -> Array:
        """Return the derivative of the logistic function at a, where it is s."""
