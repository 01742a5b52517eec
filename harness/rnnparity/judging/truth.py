"""The truth: the recurrence and its gradients in higher precision, on the very same inputs.

float64 for the 16- and 32-bit types; NumPy's longdouble, where it has more bits, for float64. What
the layers saw and did on the way is kept (`Trace`), for the model of rounding to go along it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnparity.cells import network
from rnnparity.cells.config import RNNConfig
from rnnparity.cells.recurrence import Trace, layer, layer_backward, traced_step
from rnnparity.errors import UsageError
from rnnparity.problems.arrays import Problem
from rnnparity.problems.cases import Case
from rnnparity.problems.setup import Setup, setup
from rnnparity.types import Array
from rnnparity.words import option


@dataclass
class Truth:
    """What is true of a case, time-major, for the rows of the batch that are judged.

    Attributes:
        values: quantity to array: "output" `[T, R, D * H]`, "h_n" `[L * D, R, H]`, "next_output",
            "next_h_n", "grad_x", "grad_h0", "grad_weight_ih_l0", ...
        traces: one per layer and direction.
        next_traces: of the one more step; empty if there is none.
        lengths: `[R]` or None.
        config: time-major, as the traces are.
    """

    values: dict[str, Array]
    traces: list[Trace]
    next_traces: list[Trace]
    lengths: Array | None
    config: RNNConfig


def truth(case: Case, problem: Problem) -> Truth:
    """Compute what is true of a case.

    Raises:
        UsageError: a float64 case on a platform without a more precise type.
    """
    given = setup(case, problem, higher_precision(case.dtype))
    tape: list[network.Call] = []
    traces: list[list[Trace]] = []

    def run(part: Setup) -> tuple[Array, Any]:
        traces.append([Trace(cell, traced_step(part.config)) for cell in part.cells])
        return part.replace(cells=traces[-1]).run(layer, None if traces[1:] else tape)

    values = given.forward(run) | given.backward(layer_backward, tape)
    return Truth(values, traces[0], traces[1] if traces[1:] else [], given.lengths, given.config)


def higher_precision(dtype: str) -> Any:
    """Return the NumPy type in which a dtype's truth is computed.

    Raises:
        UsageError: there is none on this platform.
    """
    if dtype != "float64":
        return np.float64
    if np.finfo(np.longdouble).eps >= np.finfo(np.float64).eps:
        raise UsageError(
            "float64 cannot be judged here: NumPy's longdouble is no more precise than float64 on "
            f"this platform; give {option('dtype', 'float32')}"
        )
    return np.longdouble
