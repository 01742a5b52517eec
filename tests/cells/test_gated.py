"""GRU and LSTM: their truth is certified, and the judge tells right from wrong."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import evaluate, loaded, reference_of

from rnnparity.cells import gru, recurrence
from rnnparity.cells.config import RNNConfig
from rnnparity.implementations.outcome import Outcome, execute
from rnnparity.judging.diagnosis import diagnose
from rnnparity.judging.mistakes import every_mistake, gates
from rnnparity.judging.verdict import judge
from rnnparity.problems.cases import Case
from rnnparity.problems.quantities import quantity
from rnnparity.selftest.sensitivity import wrong_outcome

pytestmark = pytest.mark.machine

# Of a unit, as for the plain RNN.
FRACTION = 1e-2

CASES = [
    Case(
        config=RNNConfig(input_size=3, hidden_size=4, kind=kind),
        T=T,
        B=2,
        dtype=dtype,
        regime=regime,
    )
    for kind in ("gru", "lstm")
    for dtype in ("float32", "float64")
    for T, regime in ((7, "torch-init"), (5, "saturated"), (4, "tiny"), (12, "expansive"))
]


def certified(case):
    """Return every quantity in balls: name and index to entries."""
    ball = pytest.importorskip("gated_ball", reason="python-flint is not installed")
    against = reference_of(case)
    problem = against.problem
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    states = [a for a in (problem.h0, problem.c0) if a is not None]
    last = [a for a in (problem.grad_h_n, problem.grad_c_n) if a is not None]
    found, sums = {}, None
    for b in range(case.B):
        parameters = [problem.weights[name] for name in names]
        layer = ball.Layer(case.config.kind, parameters, problem.x[:, b], [a[0, b] for a in states])
        of_x, of_states, of_parameters = layer.backward(
            problem.grad_output[:, b], [a[0, b] for a in last]
        )
        for t in range(case.T):
            found["output", t, b] = layer.states[t + 1][0].entries()
            found["grad_x", t, b] = of_x[t].entries()
        for name, final, gradient in zip(("h", "c"), layer.states[-1], of_states, strict=False):
            found[f"{name}_n", 0, b] = final.entries()
            found[f"grad_{name}0", 0, b] = gradient.entries()
        sums = (
            of_parameters
            if sums is None
            else [a + g for a, g in zip(sums, of_parameters, strict=True)]
        )
    for name, total in zip(names, sums, strict=True):
        entries = np.array(total.entries(), dtype=object)
        shape = against.true.values[f"grad_{name}"].shape
        for index, row in zip(np.ndindex(*shape[:-1]), entries.reshape(-1, shape[-1]), strict=True):
            found[(f"grad_{name}", *index)] = list(row)
    return against, found


def largest(against, found, quantities=lambda name: True):
    """Return the largest proven distance of the truth, in units."""
    from ball import exact

    worst = 0.0
    for (name, *index), entries in found.items():
        if not quantities(name):
            continue
        values = np.atleast_1d(against.true.values[name][tuple(index)])
        units = np.atleast_1d(against.units[name][tuple(index)])
        for value, unit, entry in zip(values, units, entries, strict=True):
            worst = max(worst, float(abs(entry - exact(value)).abs_upper()) / float(unit))
    return worst


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_truth_is_certified(case):
    against, found = certified(case)
    assert {name for name, *_ in found} == set(against.true.values)
    assert largest(against, found) < FRACTION


def test_the_certificate_is_refused_where_one_gate_is_wrong(monkeypatch):
    case = CASES[0].replace(seed=5)

    def step(x, h, before):
        (after,) = gru.step([x[1], x[0], x[2]], [h[1], h[0], h[2]], before)
        return (after,)

    monkeypatch.setitem(recurrence.STEPS, "gru", step)
    against, found = certified(case)
    assert largest(against, found, lambda name: not quantity(name).is_gradient) > 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_every_mistake_of_gates_is_failed_and_named(kind, dtype):
    config = RNNConfig(input_size=5, hidden_size=7, num_layers=2, bidirectional=True, kind=kind)
    case = Case(config=config, T=9, B=4, dtype=dtype, regime="critical")
    against = reference_of(case)
    tried = [mistake for mistake in gates.MISTAKES if mistake.applies(case)]
    assert len(tried) >= 12
    for mistake in tried:
        wrong = wrong_outcome(case, mistake, against)
        assert judge(case, wrong, against).verdict == "fail", mistake.name
        named = [match.mistake.name for match in diagnose(case, wrong, against)]
        assert mistake.name in named, (mistake.name, named)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_what_is_a_mistake_in_every_kind_is_failed_in_this_one(kind):
    """Each in some case: of layers, directions, lengths, tiles of rows, long sequences."""
    config = RNNConfig(
        input_size=10, hidden_size=5, num_layers=4, bidirectional=True, dropout=0.5, kind=kind
    )
    narrow = RNNConfig(input_size=5, hidden_size=9, kind=kind)
    cases = [
        Case(config=config, T=9, B=9, ragged=True, regime="critical"),
        Case(config=config, T=5, B=5, regime="critical"),
        Case(config=narrow, T=1, B=67, regime="critical"),
        Case(config=narrow, T=131, B=1, dtype="float64", regime="critical"),
        Case(config=narrow, T=7, B=67, dtype="bfloat16", regime="critical"),
    ]
    tried, failed = set(), set()
    for case in cases:
        against = reference_of(case)
        for mistake in every_mistake():
            if mistake.applies(case) and mistake not in gates.MISTAKES:
                tried.add(mistake.name)
                wrong = wrong_outcome(case, mistake, against)
                if judge(case, wrong, against).verdict == "fail":
                    failed.add(mistake.name)
    assert len(tried) >= 85
    assert tried == failed


def test_a_fifth_kind_is_a_step_and_its_names(monkeypatch):
    """A minimal gated unit (Zhou et al., 2016): truth, gradients, unit and verdict come of it."""
    from rnnparity.cells import config as cells
    from rnnparity.cells.step import sigmoid, tanh
    from rnnparity.problems import arrays

    def step(x, h, before):
        f = sigmoid(x[0] + h[0])
        n = tanh(x[1] + f * h[1])
        return ((1 - f) * before[0] + f * n,)

    monkeypatch.setitem(cells.KINDS, "mgu", cells.Kind(("f", "n"), ("h",)))
    monkeypatch.setitem(recurrence.STEPS, "mgu", step)
    monkeypatch.setitem(arrays.JUDGE_ARRAYS, "mgu", 16)
    case = Case(config=RNNConfig(input_size=3, hidden_size=4, kind="mgu"), T=6, B=2)
    against = reference_of(case)
    problem = against.problem

    def mgu(forget):
        weight_ih, weight_hh, bias_ih, bias_hh = (p for p in problem.weights.values())
        h, output = problem.h0[0], []
        for x_t in problem.x:
            a, u = x_t @ weight_ih.T + bias_ih, h @ weight_hh.T + bias_hh
            f = 1 / (1 + np.exp(-(a[:, :4] + u[:, :4])))
            n = np.tanh(a[:, 4:] + f * u[:, 4:])
            h = forget(f, n, h)
            output.append(h)
        return Outcome({"output": np.stack(output), "h_n": h[None]})

    right = mgu(lambda f, n, h: (1 - f) * h + f * n)
    wrong = mgu(lambda f, n, h: f * h + (1 - f) * n)
    assert judge(case, right, against).verdict == "pass"
    assert judge(case, wrong, against).verdict == "fail"
    assert np.isfinite(against.true.values["grad_weight_hh_l0"]).all()


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_nothing_is_said_where_a_product_on_the_way_overflows(kind):
    """A huge state times the gradient of a gate is beyond the dtype; a right page is not failed."""
    config = RNNConfig(input_size=12, hidden_size=93, num_layers=2, kind=kind)
    case = Case(config=config, T=16, B=1, regime="near-overflow", seed=2)
    against = reference_of(case)
    assert not against.judged["grad_weight_hh_l0"].any()
    judgement = evaluate(f"recurrences.{kind}.numpy_loop", "cpu", case)
    assert judgement.verdict in ("pass", "chaotic"), judgement.reason


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_past_a_horizon_a_grus_steps_are_judged_one_by_one(dtype):
    config = RNNConfig(input_size=5, hidden_size=64, kind="gru")
    case = Case(config=config, T=150, B=2, dtype=dtype, regime="radius8.0")
    against = reference_of(case)
    assert against.horizon is not None
    assert against.horizon < 140
    implementation, border = loaded("recurrences.gru.numpy_loop")
    outcome = execute(implementation, border, case, against.problem, "cpu")
    assert judge(case, outcome, against).verdict == "chaotic"
    off = outcome.arrays["output"].copy()
    off[145, 1, 3] = 0.5 - off[145, 1, 3] / 2
    wrong = replace(outcome, arrays=outcome.arrays | {"output": off}, invariants={})
    reason = judge(case, wrong, against).reason
    assert reason.startswith("step 145 (row 1, unit 3) does not follow from the state before it")


def test_a_mistake_keeps_a_coarse_dtype():
    """Diagnosis makes every mistake in the case's own dtype, too."""
    config = RNNConfig(input_size=4, hidden_size=5, kind="gru")
    case = Case(config=config, T=3, B=2, dtype="bfloat16")
    against = reference_of(case)
    for mistake in every_mistake():
        if mistake.applies(case):
            for name, array in wrong_outcome(case, mistake, against).arrays.items():
                assert array.dtype.name == "bfloat16" or quantity(name).is_gradient
