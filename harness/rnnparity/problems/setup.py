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
        c0: of an LSTM, shaped as h0; else None.
        grad_c_n: of an LSTM, shaped as h0; else None.
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
    c0: Array | None = None
    grad_c_n: Array | None = None

    def replace(self, **changes: Any) -> "Setup":
        """Return the setup with something changed."""
        return replace(self, **changes)

    def run(
        self, layer: network.Layer, tape: list[network.Call] | None = None
    ) -> tuple[Array, Any]:
        """Run the right composition around a layer: (output, h_n) or (output, (h_n, c_n))."""
        states = self.h0 if self.c0 is None else (self.h0, self.c0)
        return network.run(layer, self.x, states, self.cells, self.config, self.lengths, tape)

    def forward(self, run: Callable[["Setup"], tuple[Array, Any]]) -> Quantities:
        """Return output, h_n and an LSTM's c_n, and those of one more step if there is one.

        Args:
            run: what runs a setup.
        """
        found = self._named(run(self))
        if self.x_next is not None:
            ones = None if self.lengths is None else np.ones_like(self.lengths)
            states = {"h0": found["h_n"], "c0": found.get("c_n")}
            following = run(
                self.replace(x=self.x_next, lengths=ones, x_next=None, has_h0=True, **states)
            )
            found |= {f"next_{name}": value for name, value in self._named(following).items()}
        return found

    def _named(self, result: tuple[Array, Any]) -> Quantities:
        output, last = result
        if self.c0 is None:
            return {"output": output, "h_n": last}
        return {"output": output, "h_n": last[0], "c_n": last[1]}

    def backward(
        self, layer_backward: network.LayerBackward, tape: list[network.Call]
    ) -> Quantities:
        """Return all gradients.

        Args:
            layer_backward: of one layer in one direction.
            tape: what `run` wrote.
        """
        last = self.grad_h_n if self.grad_c_n is None else (self.grad_h_n, self.grad_c_n)
        of_x, of_states, of_cells = network.backward(
            layer_backward, tape, self.grad_output, last, self.config, self.lengths
        )
        found = {"grad_x": of_x}
        if self.has_h0:
            states = (of_states,) if self.grad_c_n is None else of_states
            found |= dict(zip(("grad_h0", "grad_c0"), states, strict=False))
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
    c0 = None if problem.c0 is None else take("c0", problem.c0)
    if c0 is None and problem.grad_c_n is not None:
        c0 = np.zeros_like(grad_h_n)
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
        c0=c0,
        grad_c_n=None if problem.grad_c_n is None else take("grad_c_n", problem.grad_c_n),
    )
