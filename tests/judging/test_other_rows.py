"""Rows that no unit is computed for: what is wrong in them alone, and right ones that differ."""

import numpy as np
import pytest
from conftest import border, evaluate, reference_of
from stateful_implementations import STATEFUL

import rnnparity
from rnnparity.cells.config import RNNConfig
from rnnparity.implementations import contract
from rnnparity.implementations.execution import execute
from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.registry import Spec
from rnnparity.judging import other_rows
from rnnparity.judging.verdict import judge
from rnnparity.problems.arrays import rows_are_left, weighing_all_rows
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import numpy_dtype
from rnnparity.problems.quantities import time_major

pytestmark = pytest.mark.machine

SMALL = Case(config=RNNConfig(input_size=5, hidden_size=8), T=12, B=70, judged=2)

LAST_ROWS_WHEN_TIMED = """
import numpy as np
framework = "numpy"
gradients = {gradients}
calls = 0

def layer(x, h0, cell, nonlinearity):
    global calls
    calls += 1
    output, h = np.empty((len(x), *h0.shape), x.dtype), h0
    for t in range(len(x)):
        h = np.tanh(x[t] @ cell[0].T + cell[2] + h @ cell[1].T + cell[3])
        output[t] = h
    if calls > 40:
        output[:, -1] *= 1.01
    return output, h
"""


def right(case):
    """Return a right outcome of all rows: the recurrence in float32, rounded to the dtype."""
    problem, dtype = reference_of(case).problem, numpy_dtype(case.dtype)
    everything = problem._replace(rows=np.arange(case.B))
    whole = problem._replace(**weighing_all_rows(case, problem))

    def laid_out(given):
        values = other_rows._values(case, given, np.float32)
        return {n: time_major(case, n, value).astype(dtype) for n, value in values.items()}

    weighed = {n: v for n, v in laid_out(whole).items() if n.startswith("grad_")}
    return Outcome(laid_out(everything), every_row=weighed)


def test_what_is_right_in_all_rows_passes():
    for layout in ({}, {"batch_first": True}):
        case = SMALL.replace(config=RNNConfig(input_size=5, hidden_size=8, **layout))
        judgement = judge(case, right(case), reference_of(case))
        assert judgement.verdict == "pass", judgement.reason


@pytest.mark.parametrize("quantity", ["grad_x", "grad_h0", "grad_weight_hh_l0"])
def test_a_gradient_of_another_shape_is_asked_nothing_more(quantity):
    """Its rows cannot be counted: that it has another shape is what is said."""
    outcome = right(SMALL)
    for arrays in (outcome.arrays, outcome.every_row):
        arrays[quantity] = arrays[quantity].sum(axis=0)
    judgement = judge(SMALL, outcome, reference_of(SMALL))
    assert judgement.verdict == "fail"
    assert judgement.reason.startswith(f"{quantity} has shape ")


def test_a_gradient_of_another_dtype_where_all_rows_are_weighed_is_a_failure(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(STATEFUL["gradient_of_another_dtype_at_every_other_call"][0])
    mine, against = contract.load(Spec("mine", str(path))), reference_of(SMALL)
    outcome = execute(mine, border("numpy"), SMALL, against.problem, "cpu")
    judgement = judge(SMALL, outcome, against)
    assert judgement.verdict == "fail"
    assert "grad_h0 in another shape or dtype at a second call" in judgement.reason


@pytest.mark.parametrize("quantity", ["output", "h_n", "grad_x", "grad_h0"])
@pytest.mark.parametrize(
    "rows", [slice(16, None), slice(32, None), slice(64, None), slice(-1, None)]
)
def test_what_is_wrong_from_a_row_on_fails(quantity, rows):
    """Rows that are not judged by the unit only: those that are, are right."""
    outcome, against = right(SMALL), reference_of(SMALL)
    arrays = outcome.every_row if quantity.startswith("grad_") else outcome.arrays
    off = [b for b in range(SMALL.B)[rows] if b not in against.problem.rows]
    assert off
    arrays[quantity][:, off] = arrays[quantity][:, [b - 1 for b in off]]
    judgement = judge(SMALL, outcome, against)
    assert judgement.verdict == "fail"
    assert f"{quantity}[" in judgement.reason
    assert "(one of 70 rows)" in judgement.reason


def test_a_number_that_is_none_in_another_row_fails():
    outcome, against = right(SMALL), reference_of(SMALL)
    row = next(b for b in range(SMALL.B) if b not in against.problem.rows)
    outcome.arrays["h_n"][0, row, 0] = np.nan
    assert judge(SMALL, outcome, against).verdict == "fail"


@pytest.mark.parametrize("weight", ["grad_weight_hh_l0", "grad_bias_ih_l0"])
def test_a_row_that_is_left_out_of_the_gradient_of_a_weight_fails(weight):
    outcome, against = right(SMALL), reference_of(SMALL)
    problem = against.problem
    without_last = problem._replace(
        **{
            name: value * (np.arange(SMALL.B) < SMALL.B - 1)[None, :, None]
            for name, value in weighing_all_rows(SMALL, reference_of(SMALL).problem).items()
        }
    )
    assert SMALL.B - 1 not in problem.rows
    outcome.every_row[weight] = other_rows._values(SMALL, without_last, np.float32)[weight]
    judgement = judge(SMALL, outcome, against)
    assert judgement.verdict == "fail"
    assert "(all rows weighed)" in judgement.reason


def test_what_is_not_weighed_has_no_gradient():
    outcome, against = right(SMALL), reference_of(SMALL)
    row = next(b for b in range(SMALL.B) if b not in against.problem.rows)
    outcome.arrays["grad_x"][3, row, 1] = 1e-6
    judgement = judge(SMALL, outcome, against)
    assert judgement.verdict == "fail"
    assert f"grad_x is not zero in row {row}" in judgement.reason


HARD = [
    {"regime": "saturated", "ragged": True, "seed": 611174},
    {"regime": "expansive"},
    {"regime": "critical", "dtype": "float64"},
    {"regime": "saturated", "dtype": "float64", "ragged": True, "h0": False, "seed": 229850},
    {"regime": "tiny", "one_more_step": True},
    {"regime": "torch-init", "dtype": "bfloat16"},
    {"regime": "torch-init", "dtype": "float16"},
]


@pytest.mark.parametrize("name", ["torch-rnn", "numpy-loop", "torch-loop"])
@pytest.mark.parametrize("draw", HARD, ids=lambda draw: draw["regime"])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_right_implementations_pass_in_rows_unlike_the_judged_ones(name, draw, nonlinearity):
    """A row may saturate, end or grow where the judged ones do not."""
    config = RNNConfig(input_size=5, hidden_size=8, num_layers=2, nonlinearity=nonlinearity)
    case = Case(config=config, T=40, **{"B": 16, "judged": 1} | draw)
    judgement = evaluate(name, "cpu", case)
    assert judgement.verdict in ("pass", "chaotic"), judgement.reason


def test_a_case_that_is_judged_on_all_rows_costs_nothing_more():
    case = SMALL.replace(judged=None)
    against = reference_of(case)
    assert not rows_are_left(case, against.problem)
    assert other_rows.reasons(case, {}, {}, against, 10.0) == []


@pytest.mark.parametrize("mode", ["forward", "gradients"])
def test_a_last_row_that_is_wrong_when_timed_has_no_time(tmp_path, mode):
    """Right as long as it is checked: the timed calls' own results are compared in every row."""
    pytest.importorskip("torch")
    path = tmp_path / "mine.py"
    text = LAST_ROWS_WHEN_TIMED.format(gradients=mode == "gradients")
    if mode == "gradients":
        text = text.replace('"numpy"', '"torch"').replace("import numpy as np", "import torch")
        text = text.replace("np.empty((len(x), *h0.shape), x.dtype)", "[]")
        text = text.replace("output[t] = h", "output.append(h)").replace("np.tanh", "torch.tanh")
        a = text.index("    if calls > 40")
        text = text[:a] + (
            "    output = torch.stack(output)\n"
            "    if calls > 40 and output.requires_grad:\n"
            "        output = torch.cat((output[:, :-1], Twice.apply(output[:, -1:])), 1)\n"
            "        h = output[-1]\n"
            "    return output, h\n"
            "class Twice(torch.autograd.Function):\n"
            "    @staticmethod\n"
            "    def forward(ctx, a):\n"
            "        return a.clone()\n"
            "    @staticmethod\n"
            "    def backward(ctx, grad):\n"
            "        return 2 * grad\n"
        )
    path.write_text(text)
    arguments = {"preset": "notebook", "processes": 2, "budget": 0.05}
    run = rnnparity.bench(str(path), out=tmp_path / "run", **arguments)
    (mine,) = [t for t in run.timings if t.implementation == "mine" and t.mode == mode]
    assert mine.verdict == "fail", mine
    assert mine.reason.startswith("while timed: ")
    assert mine.seconds == ()
