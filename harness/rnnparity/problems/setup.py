"""A case's arrays as computations by hand take them: time-major, some rows, one precision."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rnnparity.cells import network
from rnnparity.cells.config import RNNConfig, cells, named_gradients
from rnnparity.problems.arrays import Problem
from rnnparity.problems.cases import Case
from rnnparity.problems.quantities import time_major
from rnnparity.types import Array

Quantities = dict[str, Array]  # by name, time-major


@dataclass(frozen=True)
class Setup:
    """What a whole network is given, and what runs it.

    Attributes:
        x: `[T, B, I]`.
        h0: `[L * D, B, H]`, zeros if none is given.
        cells: one per layer and direction, as the layer that is run takes them.
        config: time-major.
        lengths: `[B]`, or None.
        grad_output: `[T, B, D * H]`.
        grad_h_n: `[L * D, B, H]`.
        x_next: the input of one more step, `[1, B, I]`, or None.
        has_h0: whether an initial state is given, so that it has a gradient.
    """

    x: Array
    h0: Array
    cells: list[Any]
    config: RNNConfig
    lengths: Array | None
    grad_output: Array
    grad_h_n: Array
    x_next: Array | None = None
    has_h0: bool = True

    def replace(self, **changes: Any) -> "Setup":
        """Return the setup with something changed."""
        return replace(self, **changes)

    def run(
        self, layer: network.Layer, tape: list[network.Call] | None = None
    ) -> tuple[Array, Array]:
        """Run the right composition around a layer: (output, h_n)."""
        return network.run(layer, self.x, self.h0, self.cells, self.config, self.lengths, tape)

    def forward(self, run: Callable[["Setup"], tuple[Array, Array]]) -> Quantities:
        """Return output and h_n, and those of one more step if there is one.

        Args:
            run: what runs a setup.
        """
        output, h_n = run(self)
        found = {"output": output, "h_n": h_n}
        if self.x_next is not None:
            ones = None if self.lengths is None else np.ones_like(self.lengths)
            following = run(self.replace(x=self.x_next, h0=h_n, lengths=ones, x_next=None))
            found |= {"next_output": following[0], "next_h_n": following[1]}
        return found

    def backward(
        self, layer_backward: network.LayerBackward, tape: list[network.Call]
    ) -> Quantities:
        """Return all gradients.

        Args:
            layer_backward: of one layer in one direction.
            tape: what `run` wrote.
        """
        of_x, of_h0, of_cells = network.backward(
            layer_backward, tape, self.grad_output, self.grad_h_n, self.config, self.lengths
        )
        found = {"grad_x": of_x, "grad_h0": of_h0} if self.has_h0 else {"grad_x": of_x}
        return found | named_gradients(of_cells, self.config)


def setup(case: Case, problem: Problem, dtype: Any, rows: Array | None = None) -> Setup:
    """Return a case's arrays in a precision.

    Args:
        case: says the layout.
        problem: its arrays.
        dtype: a NumPy type.
        rows: of the batch; the judged ones if None.
    """
    rows = problem.rows if rows is None else rows

    def take(name: str, array: Array) -> Array:
        return np.ascontiguousarray(time_major(case, name, array)[:, rows].astype(dtype))

    config = case.config.time_major()
    grad_h_n = take("grad_h_n", problem.grad_h_n)
    return Setup(
        x=take("x", problem.x),
        h0=np.zeros_like(grad_h_n) if problem.h0 is None else take("h0", problem.h0),
        cells=cells({name: w.astype(dtype) for name, w in problem.weights.items()}, config),
        config=config,
        lengths=None if problem.lengths is None else problem.lengths[rows],
        grad_output=take("grad_output", problem.grad_output),
        grad_h_n=grad_h_n,
        x_next=None if problem.x_next is None else take("x", problem.x_next),
        has_h0=problem.h0 is not None,
    )
