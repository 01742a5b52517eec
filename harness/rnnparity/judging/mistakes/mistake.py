"""A known mistake: what it is, and what it is made with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rnnparity.problems.arrays import Problem
from rnnparity.problems.cases import Case
from rnnparity.problems.setup import Quantities, Setup, setup
from rnnparity.types import Array

PLAIN, GATED = ("rnn",), ("gru", "lstm")  # kinds of layers

Forward = Callable[[Setup], tuple[Array, Any]]
Backward = Callable[[Setup], Quantities]


@dataclass(frozen=True)
class Mistake:
    """A mistake, and the real-world bug that it stands for.

    Attributes:
        name: what is wrong, as it reads after "the recurrence with ...".
        stands_for: where it comes from.
        forward: returns the wrong (output, h_n); None for a mistake of the backward pass.
        backward: returns the wrong gradients; None for a mistake of the forward pass.
        when: whether it can be made in a case, where that is not everywhere: e.g. only a square
            weight can be transposed.
        kinds: of layers in which it can be made.
    """

    name: str
    stands_for: str
    forward: Forward | None = None
    backward: Backward | None = None
    when: Callable[[Case], bool] | None = None
    kinds: tuple[str, ...] = PLAIN + GATED

    def applies(self, case: Case) -> bool:
        """Return whether it can be made here."""
        return case.config.kind in self.kinds and (self.when is None or self.when(case))

    def quantities(self, case: Case, problem: Problem, dtype: Any) -> Quantities:
        """Make the mistake.

        Args:
            case: what to run.
            problem: its arrays.
            dtype: of the computation: the case's own, or a higher precision.

        Returns:
            The quantities that it touches, time-major, for the judged rows.
        """
        given = setup(case, problem, dtype)
        if self.backward is not None:
            found = self.backward(given)
            if not given.has_h0:
                found = {k: v for k, v in found.items() if k not in ("grad_h0", "grad_c0")}
            return found
        assert self.forward is not None
        return given.forward(self.forward)


def product(a: Array, b: Array) -> Array:
    """Return `a @ b` in the dtype of `a`: of two bfloat16 matrices NumPy makes a float32 one."""
    return (a @ b).astype(a.dtype, copy=False)
