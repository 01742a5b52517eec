"""The truth: the recurrence and its gradients in higher precision, on the very same inputs.

float64 for the 16- and 32-bit types; NumPy's longdouble, where it has more bits, for float64. What
the layers saw and did on the way is kept (`Trace`), for the model of rounding to go along it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnparity import composition
from rnnparity.cases import Case
from rnnparity.config import Cell, RNNConfig, cells, suffixes
from rnnparity.errors import UsageError
from rnnparity.problems import Problem, time_major

Array = NDArray[Any]


@dataclass
class Trace:
    """One layer in one direction: what it was given, and what came of it, forward and backward."""

    cell: Cell
    x: Array  # [T, B, I]
    h0: Array  # [B, H]
    output: Array  # [T, B, H]
    grad_h: Array  # [T, B, H], gradient of every h_t
    grad_a: Array  # [T, B, H], gradient of what goes into the nonlinearity


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
    tape: list[composition.Call] = []
    x = take("x", problem.x)
    output, h_n = composition.run(layer, x, h0, traces, config, lengths, tape)
    values = {"output": output, "h_n": h_n}

    next_traces: list[Trace] = []
    if problem.x_next is not None:
        next_traces = _traces(weights, config)
        ones = None if lengths is None else np.ones_like(lengths)
        x_next = take("x_next", problem.x_next)
        following = composition.run(layer, x_next, h_n, next_traces, config, ones)
        values |= {"next_output": following[0], "next_h_n": following[1]}

    grad_x, grad_h0, grad_cells = composition.backward(
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


def named_gradients(grad_cells: list[Any], config: RNNConfig) -> dict[str, Array]:
    """Name the gradients of cells: `grad_weight_ih_l0`, ..."""
    return {
        f"grad_{name}_{suffix}": gradient
        for suffix, of_cell in zip(suffixes(config), grad_cells, strict=True)
        for name, gradient in zip(Cell._fields, of_cell, strict=True)
        if config.bias or not name.startswith("bias")
    }


def _traces(weights: dict[str, Array], config: RNNConfig) -> list[Trace]:
    nothing = np.empty(0)
    return [Trace(cell, *[nothing] * 5) for cell in cells(weights, config)]


def layer(x: Array, h0: Array, trace: Trace, nonlinearity: str) -> tuple[Array, Array]:
    """One layer, one direction, as the formula is written: the definition, not an optimisation."""
    weight_ih, weight_hh, bias_ih, bias_hh = trace.cell
    h, output = h0, np.empty((*x.shape[:2], h0.shape[1]), x.dtype)
    for t, x_t in enumerate(x):
        a = x_t @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh
        h = np.tanh(a) if nonlinearity == "tanh" else np.maximum(a, 0)
        output[t] = h
    trace.x, trace.h0, trace.output = x, h0, output
    return output, h


def layer_backward(
    grad_output: Array,
    grad_h_n: Array,
    x: Array,
    h0: Array,
    output: Array,
    trace: Trace,
    nonlinearity: str,
) -> tuple[Array, Array, Cell]:
    """Backward through time, as the chain rule is written."""
    weight_ih, weight_hh, _, _ = trace.cell
    derivative = 1 - output * output if nonlinearity == "tanh" else (output > 0).astype(x.dtype)
    trace.grad_h, trace.grad_a = np.empty_like(output), np.empty_like(output)
    from_next = grad_h_n
    for t in reversed(range(len(x))):
        trace.grad_h[t] = grad_output[t] + from_next
        trace.grad_a[t] = trace.grad_h[t] * derivative[t]
        from_next = trace.grad_a[t] @ weight_hh
    flat = trace.grad_a.reshape(-1, h0.shape[1])
    h_before = np.concatenate((h0[None], output[:-1])).reshape(flat.shape)
    grad_bias = flat.sum(axis=0)
    grad_cell = Cell(
        flat.T @ x.reshape(len(flat), -1), flat.T @ h_before, grad_bias, grad_bias.copy()
    )
    return trace.grad_a @ weight_ih, from_next, grad_cell
