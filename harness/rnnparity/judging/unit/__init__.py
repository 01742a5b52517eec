"""The unit: how far rounding alone carries a right implementation, per element of a quantity.

Monte Carlo arithmetic (Parker, 1997) in difference form. The truth's trajectory is known; what is
simulated is only the difference from it, in many replicas at once, with a random error added at
every operation, of the size that rounding in the dtype under test has there. Differences obey

    tanh(a + d) - tanh(a)   = tanh(d) sech^2(a) / (1 + tanh(a) tanh(d))
    s(a + d) - s(a)         = s(a) s(-a) expm1(d) / (1 + s(a) expm1(d))
    relu(a + d) - relu(a)   = max(d, -a) for a > 0, max(a + d, 0) for a <= 0
    (a + c) (b + d) - a b   = a d + c (b + d)
    (h + d) W - h W         = d W

exactly, so that nothing cancels, whatever the dtype's precision is, and large differences saturate
as the network does. Layers, directions and unequal lengths come from the same composition that the
implementations run in: all that it does to rows (reversing, masking, gathering, joining) it does to
a row of differences alike. `docs/verdict.md` derives the sizes and says what was measured.

arithmetic   the sizes of rounding errors of single operations in a dtype
replicas     signs of errors, and what is alike in them
differences  what the operations of a step make of differences
products     rounding of the matrix products that go into a step
errors       what a step's operations err by, along a trajectory
forward      differences through a layer
backward     differences backward through a layer
one_step     one step from given states
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from rnnparity.cells import network
from rnnparity.cells.config import Cell
from rnnparity.cells.recurrence import Trace
from rnnparity.judging.truth import Truth
from rnnparity.judging.unit.arithmetic import Arithmetic
from rnnparity.judging.unit.backward import layer_backward
from rnnparity.judging.unit.differences import KINK
from rnnparity.judging.unit.forward import layer
from rnnparity.judging.unit.one_step import one_step
from rnnparity.judging.unit.replicas import SMALLEST, Replicas, Signs
from rnnparity.problems.arrays import REPLICAS
from rnnparity.problems.quantities import of_weights
from rnnparity.problems.setup import Setup
from rnnparity.types import Array

__all__ = ["KINK", "Deviations", "as_float64", "deviations", "one_step"]


@dataclass(frozen=True)
class Deviations:
    """The predicted standard deviations of rounding.

    Attributes:
        units: of every element of every quantity, shaped as `Truth.values`, float64, never below
            the dtype's underflow.
        widest: `[T, B]` for each of `Truth.traces`: the largest of the units of h_t.
        next_widest: `[1, B]` for each of `Truth.next_traces`: the largest of the units of its h.
    """

    units: dict[str, Array]
    widest: list[Array]
    next_widest: list[Array]


def deviations(true: Truth, arithmetic: Arithmetic, seed: int) -> Deviations:
    """Predict how far rounding alone carries every quantity, and every layer's states.

    Args:
        true: of the case; its arrays are time-major and hold the judged rows only.
        arithmetic: the sizes of single rounding errors.
        seed: of the replicas.
    """
    work = _precision(true, arithmetic)
    signs = Signs(seed, work)
    config = true.config
    repeated = None if true.lengths is None else np.tile(true.lengths, REPLICAS)

    def replicas(traces: list[Trace]) -> list[Replicas]:
        return [
            Replicas(as_float64(trace), arithmetic, signs, work, np.empty(trace.output.shape[:2]))
            for trace in traces
        ]

    def none(like: Array) -> Array:
        return np.zeros((like.shape[0], REPLICAS * like.shape[1], like.shape[2]), work)

    layers, next_layers = replicas(true.traces), replicas(true.next_traces)
    waiting, tape = [layers, next_layers], list[network.Call]()

    def run(part: Setup) -> tuple[Array, Any]:
        return part.replace(cells=waiting.pop(0)).run(layer, None if tape else tape)

    given = Setup(
        x=none(true.traces[0].x),
        h0=none(true.values["h_n"]),
        cells=[],
        config=config,
        lengths=repeated,
        grad_output=none(true.values["output"]),
        grad_h_n=none(true.values["h_n"]),
        x_next=none(true.next_traces[0].x) if true.next_traces else None,
        c0=none(true.values["c_n"]) if "c_n" in true.values else None,
        grad_c_n=none(true.values["c_n"]) if "c_n" in true.values else None,
    )
    differences = given.forward(run) | given.backward(layer_backward, tape)
    found = {
        name: differences[name] if of_weights(name) else _spread(differences[name])
        for name in true.values
    }
    floor = arithmetic.underflow
    units = {name: np.maximum(value.astype(np.float64), floor) for name, value in found.items()}
    return Deviations(units, [r.widest for r in layers], [r.widest for r in next_layers])


def _precision(true: Truth, arithmetic: Arithmetic) -> Any:
    """Return the NumPy type in which differences are computed."""
    if arithmetic.dtype == "float64":
        return np.float64
    arrays = [*true.values.values(), *(g for trace in true.traces for g in trace.grad_states)]
    sizes = (np.abs(array) for array in arrays)
    tiny = any(((size > 0) & (size < SMALLEST)).any() for size in sizes)
    return np.float64 if tiny else np.float32


def _spread(differences: Array) -> Array:
    """Root mean square over the replicas: `[T, K * B, F] -> [T, B, F]`."""
    T, rows, F = differences.shape
    split = differences.reshape(T, REPLICAS, rows // REPLICAS, F)
    spread: Array = np.sqrt(np.mean(np.square(split, dtype=np.float64), axis=1))
    return spread


def as_float64(trace: Trace) -> Trace:
    """Return a trace in float64, which is precise enough for deviations."""
    narrowed: dict[str, Any] = {}
    for field in fields(trace):
        value = getattr(trace, field.name)
        if isinstance(value, Cell):
            value = Cell(*(parameter.astype(np.float64) for parameter in value))
        elif isinstance(value, list):
            value = [array.astype(np.float64) for array in value]
        elif isinstance(value, np.ndarray):
            value = value.astype(np.float64)
        narrowed[field.name] = value
    return replace(trace, **narrowed)
