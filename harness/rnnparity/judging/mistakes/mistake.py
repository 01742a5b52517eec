"""A known mistake: what it is, and what it is made with."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rnnparity.cells import network
from rnnparity.cells.config import RNNConfig, cells
from rnnparity.problems.arrays import Problem
from rnnparity.problems.cases import Case
from rnnparity.problems.quantities import time_major
from rnnparity.types import Array

Quantities = dict[str, Array]


@dataclass(frozen=True)
class Setup:
    """What a mistake is made with: a case, time-major, in whatever precision its arrays have."""

    x: Array  # [T, B, I]
    h0: Array  # [L * D, B, H], zeros if none is given
    cells: list[Any]
    config: RNNConfig
    lengths: Array | None
    grad_output: Array  # [T, B, D * H]
    grad_h_n: Array  # [L * D, B, H]

    def replace(self, **changes: Any) -> "Setup":
        """Return the setup with something changed."""
        return replace(self, **changes)

    def run(self, layer: network.Layer) -> tuple[Array, Array]:
        """Run the right composition around a layer."""
        return network.run(layer, self.x, self.h0, self.cells, self.config, self.lengths)


Forward = Callable[[Setup], tuple[Array, Array]]
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
    """

    name: str
    stands_for: str
    forward: Forward | None = None
    backward: Backward | None = None
    when: Callable[[Case], bool] | None = None

    def applies(self, case: Case) -> bool:
        """Return whether it can be made here."""
        return self.when is None or self.when(case)

    def quantities(self, case: Case, problem: Problem, dtype: Any) -> Quantities:
        """Make the mistake.

        Args:
            case: what to run.
            problem: its arrays.
            dtype: of the computation: the case's own, or a higher precision.

        Returns:
            The quantities that it touches, time-major, for the judged rows.
        """
        setup = make_setup(case, problem, dtype)
        if self.backward is not None:
            found = self.backward(setup)
            if problem.h0 is None:
                found.pop("grad_h0", None)
            return found
        assert self.forward is not None
        output, h_n = self.forward(setup)
        found = {"output": output, "h_n": h_n}
        if problem.x_next is not None:
            x_next = _take(case, problem, "x_next", problem.x_next, dtype)
            ones = None if setup.lengths is None else np.ones_like(setup.lengths)
            following = self.forward(setup.replace(x=x_next, h0=h_n, lengths=ones))
            found |= {"next_output": following[0], "next_h_n": following[1]}
        return found


def product(a: Array, b: Array) -> Array:
    """Return `a @ b` in the dtype of `a`: of two bfloat16 matrices NumPy makes a float32 one."""
    return (a @ b).astype(a.dtype, copy=False)


def make_setup(case: Case, problem: Problem, dtype: Any) -> Setup:
    """Return a case's arrays, time-major, the judged rows, in a precision."""
    config = case.config.time_major()
    weights = {name: value.astype(dtype) for name, value in problem.weights.items()}
    x = _take(case, problem, "x", problem.x, dtype)
    grad_h_n = _take(case, problem, "grad_h_n", problem.grad_h_n, dtype)
    h0 = problem.h0
    return Setup(
        x=x,
        h0=np.zeros_like(grad_h_n) if h0 is None else _take(case, problem, "h0", h0, dtype),
        cells=cells(weights, config),
        config=config,
        lengths=None if problem.lengths is None else problem.lengths[problem.rows],
        grad_output=_take(case, problem, "grad_output", problem.grad_output, dtype),
        grad_h_n=grad_h_n,
    )


def _take(case: Case, problem: Problem, name: str, array: Array, dtype: Any) -> Array:
    return np.ascontiguousarray(time_major(case, name, array)[:, problem.rows].astype(dtype))
