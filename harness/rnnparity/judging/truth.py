"""The truth: the recurrence and its gradients in higher precision, on the very same inputs.

float64 for the 16- and 32-bit types; NumPy's longdouble, where it has more bits, for float64. What
the layers saw and did on the way is kept (`Trace`), for the model of rounding to go along it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnparity.cells import network
from rnnparity.cells.config import RNNConfig, cells, named_gradients
from rnnparity.cells.elman import Trace, layer, layer_backward
from rnnparity.errors import UsageError
from rnnparity.problems.arrays import Problem
from rnnparity.problems.cases import Case
from rnnparity.problems.quantities import time_major
from rnnparity.types import Array


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
    higher = higher_precision(case.dtype)

    def take(name: str, array: Array) -> Array:
        return time_major(case, name, array)[:, problem.rows].astype(higher)

    config = case.config.time_major()
    lengths = None if problem.lengths is None else problem.lengths[problem.rows]
    weights = {name: value.astype(higher) for name, value in problem.weights.items()}
    h0 = None if problem.h0 is None else take("h0", problem.h0)

    traces = _traces(weights, config)
    tape: list[network.Call] = []
    x = take("x", problem.x)
    output, h_n = network.run(layer, x, h0, traces, config, lengths, tape)
    values = {"output": output, "h_n": h_n}

    next_traces: list[Trace] = []
    if problem.x_next is not None:
        next_traces = _traces(weights, config)
        ones = None if lengths is None else np.ones_like(lengths)
        x_next = take("x_next", problem.x_next)
        following = network.run(layer, x_next, h_n, next_traces, config, ones)
        values |= {"next_output": following[0], "next_h_n": following[1]}

    grad_x, grad_h0, grad_cells = network.backward(
        layer_backward,
        tape,
        take("grad_output", problem.grad_output),
        take("grad_h_n", problem.grad_h_n),
        config,
        lengths,
    )
    values["grad_x"] = grad_x
    if h0 is not None:
        values["grad_h0"] = grad_h0
    values |= named_gradients(grad_cells, config)
    return Truth(values, traces, next_traces, lengths, config)


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
            "this platform; give --dtype float32"
        )
    return np.longdouble


def _traces(weights: dict[str, Array], config: RNNConfig) -> list[Trace]:
    nothing = np.empty(0)
    return [Trace(cell, *[nothing] * 5) for cell in cells(weights, config)]
