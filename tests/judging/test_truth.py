"""The truth is certified by ball arithmetic: its error is a proven small fraction of a unit."""

import numpy as np
import pytest
from conftest import reference_of

from rnnparity.cells.config import RNNConfig
from rnnparity.problems import presets
from rnnparity.problems.cases import Case
from rnnparity.problems.quantities import time_major

pytestmark = pytest.mark.machine

ball = pytest.importorskip("ball", reason="python-flint is not installed")

# Of a unit. The float64 truth of a 32-bit case is some 2^29 times finer than the unit; longdouble
# is 2^11 times finer than float64.
FRACTION = 1e-2

PLAIN = RNNConfig(input_size=4, hidden_size=6)
DEEP = RNNConfig(input_size=3, hidden_size=5, num_layers=2, bidirectional=True)
RELU = RNNConfig(
    input_size=3, hidden_size=5, num_layers=2, bidirectional=True, nonlinearity="relu", bias=False
)
CASES = [
    Case(config=config, T=T, B=3, dtype=dtype, regime=regime, ragged=ragged)
    for dtype in ("float32", "float64")
    for config, T, regime, ragged in (
        (PLAIN, 10, "torch-init", False),
        (PLAIN, 25, "expansive", False),
        (PLAIN, 6, "saturated", False),
        (PLAIN, 6, "tiny", False),
        (DEEP, 6, "critical", True),
        (RELU, 6, "critical", True),
    )
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_truth_is_certified(case):
    against = reference_of(case)
    problem, config = against.problem, case.config
    lengths = np.full(case.B, case.T) if problem.lengths is None else problem.lengths
    parameters = {
        name: ball.matrix(value) if value.ndim == 2 else ball.column(value)
        for name, value in problem.weights.items()
    }
    x = time_major(case, "x", problem.x)
    certified = {name: [] for name in ("output", "h_n", "grad_x", "grad_h0")}
    sums = {}
    for b, length in enumerate(lengths):
        h0 = [ball.column(row[b]) for row in problem.h0]
        sequence = ball.Sequence(config, parameters, [ball.column(s[b]) for s in x[:length]], h0)
        grad_output = [ball.column(step[b]) for step in problem.grad_output[:length]]
        grad_h_n = [ball.column(row[b]) for row in problem.grad_h_n]
        grad_x, grad_h0, grads = sequence.backward(grad_output, grad_h_n)
        for name, found in zip(
            certified, (sequence.output, sequence.h_n, grad_x, grad_h0), strict=True
        ):
            certified[name].append(found)
        sums = {n: sums[n] + g if n in sums else g for n, g in grads.items()}
    for name, rows in certified.items():
        for b, columns in enumerate(rows):
            for t, column in enumerate(columns):
                _within(against, name, (t, b), column.entries())
    for name in problem.weights:
        quantity = f"grad_{name}"
        shape = against.true.values[quantity].shape
        entries = np.array(sums[name].entries(), dtype=object).reshape(shape)
        for index in np.ndindex(*shape[:-1]):
            _within(against, quantity, index, entries[index])
    if problem.lengths is not None:
        outside = np.arange(case.T)[:, None] >= lengths[None, :]
        assert (against.true.values["output"][outside] == 0).all()
        assert (against.true.values["grad_x"][outside] == 0).all()


def _within(against, quantity, index, entries):
    values, units = against.true.values[quantity][index], against.units[quantity][index]
    for value, unit, entry in zip(values, units, entries, strict=True):
        # A ball: the comparison holds for every number in it, so that it is a proof.
        assert abs(entry - ball.exact(value)) < ball.arb(float(unit) * FRACTION), quantity


def test_the_certificate_can_be_refused():
    case = CASES[0]
    against = reference_of(case)
    value = against.true.values["output"][0, 0]
    entries = [ball.exact(v) for v in value]
    _within(against, "output", (0, 0), entries)
    entries[0] += ball.arb(float(against.units["output"][0, 0, 0]) * 2 * FRACTION)
    with pytest.raises(AssertionError, match="output"):
        _within(against, "output", (0, 0), entries)


def test_the_presets_reach_every_dtype():
    assert {case.dtype for case in presets.preset("quick")} == {
        "float32",
        "float64",
        "bfloat16",
        "float16",
    }
