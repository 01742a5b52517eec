"""The recurrence in higher precision than the dtype under test, on the very same inputs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnparity import composition
from rnnparity.cases import Case
from rnnparity.config import cells
from rnnparity.problems import Problem

Array = NDArray[Any]


def truth(case: Case, problem: Problem) -> dict[str, Array]:
    """Return the quantities of a case: float64, or NumPy's longdouble for float64 cases."""
    higher = np.longdouble if case.dtype == "float64" else np.float64
    config, lengths = case.config, problem.lengths
    grouped = cells({name: value.astype(higher) for name, value in problem.weights.items()}, config)
    h0 = None if problem.h0 is None else problem.h0.astype(higher)
    output, h_n = composition.run(_layer, problem.x.astype(higher), h0, grouped, config, lengths)
    found = {"output": output, "h_n": h_n}
    if problem.x_next is not None:
        ones = None if lengths is None else np.ones_like(lengths)
        x_next = problem.x_next.astype(higher)
        following = composition.run(_layer, x_next, h_n, grouped, config, ones)
        found |= {"next_output": following[0], "next_h_n": following[1]}
    return found


def _layer(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
    """One layer, one direction, as the formula is written: the definition, not an optimisation."""
    weight_ih, weight_hh, bias_ih, bias_hh = cell
    h, output = h0, []
    for x_t in x:
        a = x_t @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh
        h = np.tanh(a) if nonlinearity == "tanh" else np.maximum(a, 0)
        output.append(h)
    return np.stack(output), h
