"""The verdict: right implementations pass, wrong ones fail, chaos is called by its name."""

import numpy as np
import pytest
from conftest import evaluate, loaded, reference_of

from rnnparity.cells import network
from rnnparity.cells.config import KINDS, RNNConfig
from rnnparity.implementations import invariants
from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.settings import Settings
from rnnparity.judging.chaos import spread_chaos
from rnnparity.judging.diagnosis import OBSERVABLE, diagnose, effect, nameable
from rnnparity.judging.mistakes import every_mistake
from rnnparity.judging.mistakes.forward import rounded_to
from rnnparity.judging.reference import reference
from rnnparity.judging.verdict import LIMIT, judge
from rnnparity.problems import presets
from rnnparity.problems.cases import Case
from rnnparity.selftest.sensitivity import wrong_outcome

pytestmark = pytest.mark.machine

PLAIN = Case(config=RNNConfig(input_size=8, hidden_size=16), T=12, B=4)
CHAOTIC = Case(config=RNNConfig(input_size=4, hidden_size=64), T=200, B=2, regime="radius3")


def _true(case, dtype="float32"):
    values = reference_of(case).true.values
    return {name: values[name].astype(dtype) for name in ("output", "h_n")}


@pytest.mark.parametrize("case", presets.mistake_cases(False), ids=lambda case: case.id)
def test_every_mistake_that_can_be_seen_is_failed_and_named(case):
    against = reference_of(case)
    seen = named = 0
    for mistake in every_mistake():
        if not mistake.applies(case) or effect(case, mistake, against) <= OBSERVABLE:
            continue
        seen += 1
        outcome = wrong_outcome(case, mistake, against)
        assert judge(case, outcome, against).verdict == "fail", mistake.name
        names = [match.mistake.name for match in diagnose(case, outcome, against)]
        assert mistake.name in names or not nameable(case, mistake, against), mistake.name
        named += mistake.name in names
    assert seen >= 15
    assert named >= 0.95 * seen


def test_there_are_enough_mistakes_each_with_a_name_and_a_bug():
    mistakes = every_mistake()
    assert len(mistakes) >= 180
    for kind in KINDS:
        names = [mistake.name for mistake in mistakes if kind in mistake.kinds]
        assert len(set(names)) == len(names) >= 12
    assert all(mistake.stands_for for mistake in mistakes)
    assert sum(mistake.backward is not None for mistake in mistakes) >= 15


def test_a_right_result_matches_no_mistake():
    assert diagnose(PLAIN, Outcome(_true(PLAIN)), reference_of(PLAIN)) == []


@pytest.mark.parametrize("name", ["torch-rnn", "numpy-loop", "torch-loop", "jax-scan"])
def test_past_the_horizon_it_is_chaotic_and_up_to_there_judged(name):
    judgement = evaluate(name, "cpu", CHAOTIC)
    horizon = reference_of(CHAOTIC).horizon
    assert judgement.verdict == "chaotic"
    assert f"from step {horizon} of 200 on" in judgement.reason
    assert 10 < horizon < 190
    assert 0 < judgement.quantities["output"].judged < 1


@pytest.mark.parametrize("name", ["numpy-loop", "jax-scan"])
def test_a_layer_that_lost_its_calm_takes_along_the_layers_above(name):
    """Read off the last layer alone, the horizon came later, and both were failed."""
    deep = RNNConfig(input_size=80, hidden_size=87, num_layers=3, nonlinearity="relu")
    case = Case(config=deep, T=571, B=3, regime="radius1.47", h0=False, seed=1006460732)
    assert evaluate(name, "cpu", case).verdict == "chaotic"


def test_where_there_is_no_gradient_there_is_no_error_of_it():
    """In the padding the backward pass is zeros, which no rounding makes anything else of.

    Errors of underflow's size grew there, 786 steps long, to more than float32 holds.
    """
    config = RNNConfig(input_size=35, hidden_size=14, num_layers=3, bias=False)
    draw = {"regime": "radius3.49", "ragged": True, "seed": 11}
    case = Case(config=config, T=816, B=14, **draw)
    against = reference_of(case)
    calm = against.judged["grad_x"].all(axis=(0, 2))
    assert against.problem.lengths[against.problem.rows][calm].max() < 100
    assert np.isfinite(against.units["grad_x"][:, calm]).all()
    assert against.finite["grad_x"][:, calm].all()
    # Past the horizon, on another path, these may well overflow.
    huge = np.abs(against.true.values["grad_x"]).max(axis=(0, 2)) > 1e30
    assert huge.any()
    assert not against.finite["grad_x"][:, huge].any()
    assert evaluate("numpy-loop", "cpu", case).verdict == "chaotic"


def test_nothing_is_said_of_the_gradients_of_a_chaotic_row():
    """On another path than the truth's they may overflow; a calm row's may not."""
    case = CHAOTIC.replace(B=8, seed=3)
    against = reference_of(case)
    calm = against.judged["grad_x"].all(axis=(0, 2))
    chaotic = int(np.flatnonzero(~calm)[0])
    arrays = {name: value.astype(np.float32) for name, value in against.true.values.items()}
    arrays["grad_x"][0, chaotic] = np.inf
    assert judge(case, Outcome(arrays), against).verdict == "chaotic"

    quiet = reference_of(PLAIN)
    arrays = {name: value.astype(np.float32) for name, value in quiet.true.values.items()}
    arrays["grad_x"][0, 0] = np.inf
    assert judge(PLAIN, Outcome(arrays), quiet).verdict == "fail"


def test_chaos_spreads_as_data_does():
    """Two layers, two directions; the lower reverse one is chaotic from its own third step on."""
    config = RNNConfig(input_size=1, hidden_size=1, num_layers=2, bidirectional=True)
    own = [np.zeros((6, 1, 1)) for _ in range(4)]
    own[1][2] = 1
    nothing = np.zeros((6, 1, 1))
    output, h_n = network.run(spread_chaos, nothing, None, own, config)
    assert h_n[:, 0, 0].tolist() == [0, 1, 1, 1]
    assert output[:, 0, 0].tolist() == [1] * 6  # reads the first step, the other's last
    assert output[:, 0, 1].tolist() == [1] * 4 + [0] * 2


def test_a_mistake_before_the_horizon_is_failed():
    arrays = _true(CHAOTIC)
    arrays["output"][5, 1, 3] += np.float32(1e-3)
    judgement = judge(CHAOTIC, Outcome(arrays), reference_of(CHAOTIC))
    assert judgement.verdict == "fail"
    assert judgement.quantities["output"].index == (5, 1, 3)


def test_nan_past_the_horizon_is_failed():
    arrays = _true(CHAOTIC)
    arrays["output"][-1, 0, 0] = np.nan
    judgement = judge(CHAOTIC, Outcome(arrays), reference_of(CHAOTIC))
    assert judgement.verdict == "fail"
    assert "not a finite number" in judgement.reason


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_an_error_of_twice_the_limit_fails_and_of_half_the_limit_passes(dtype):
    case = PLAIN.replace(dtype=dtype)
    against = reference_of(case)
    for share, verdict in ((0.5, "pass"), (2, "fail")):
        moved = against.true.values["output"] + share * LIMIT * against.units["output"]
        z = np.abs(moved - against.true.values["output"]) / against.units["output"]
        assert float(z.max()) == pytest.approx(share * LIMIT, rel=1e-3)
        exact = {"output": moved.astype(against.problem.x.dtype)}
        assert judge(case, Outcome(exact), against).verdict == verdict


def test_the_unit_covers_what_rounding_does_and_no_more():
    """Errors of the right implementation are about one unit: neither far below nor above."""
    case = Case(config=RNNConfig(input_size=32, hidden_size=64), T=50, B=4)
    against = reference_of(case)
    implementation, border = loaded("numpy-loop")
    from rnnparity.implementations.execution import execute

    outcome = execute(implementation, border, case, against.problem, "cpu")
    for name in ("output", "grad_x", "grad_weight_hh_l0"):
        z = np.abs(outcome.arrays[name] - against.true.values[name]) / against.units[name]
        assert 0.1 < np.sqrt(np.mean(z**2)) < 1.5, name


@pytest.mark.parametrize(("bits", "precision"), [(11, "tf32"), (8, "bfloat16")])
def test_coarser_products_are_within_the_unit_only_where_they_are_declared(bits, precision):
    case = Case(config=RNNConfig(input_size=64, hidden_size=64), T=10, B=4)
    settings = Settings(matmul_precision=precision)
    in_float32, declared = reference_of(case), reference(case, settings)
    weights = {n: rounded_to(bits, v) for n, v in in_float32.problem.weights.items()}
    x = rounded_to(bits, in_float32.problem.x)
    problem = in_float32.problem._replace(weights=weights, x=x)
    from rnnparity.judging.truth import truth

    output = truth(case, problem).values["output"].astype(np.float32)
    assert judge(case, Outcome({"output": output}), in_float32).verdict == "fail"
    assert judge(case, Outcome({"output": output}), declared).verdict == "pass"


def test_a_large_case_is_judged_on_a_sample_of_its_rows():
    from rnnparity.judging.truth import truth

    case = Case(config=RNNConfig(input_size=512, hidden_size=512), T=40, B=64)
    against = reference_of(case)
    assert 1 <= len(against.problem.rows) < 64
    every_row = against.problem._replace(rows=np.arange(64))
    off = truth(case, every_row).values["output"].astype(np.float32)
    assert judge(case, Outcome({"output": off}), against).verdict == "pass"
    off[3, against.problem.rows[0], 7] += 1e-3
    assert judge(case, Outcome({"output": off}), against).verdict == "fail"


def test_a_wrong_shape_and_a_wrong_dtype_fail():
    arrays = _true(PLAIN)
    against = reference_of(PLAIN)
    short = judge(PLAIN, Outcome({"h_n": arrays["h_n"][0]}), against)
    assert (short.verdict, "shape" in short.reason) == ("fail", True)
    wide = judge(PLAIN, Outcome({"h_n": arrays["h_n"].astype(np.float64)}), against)
    assert (wide.verdict, "expected float32" in wide.reason) == ("fail", True)


@pytest.mark.parametrize("name", ["torch-rnn", "numpy-loop", "torch-loop", "jax-scan"])
def test_invariants_hold(name):
    for case in presets.preset("quick"):
        if case.invariants:
            judgement = evaluate(name, "cpu", case)
            assert judgement.verdict == "pass", judgement.reason


def test_units_are_the_same_every_time():
    again = reference(PLAIN)
    for name, unit in reference_of(PLAIN).units.items():
        assert np.array_equal(unit, again.units[name]), name


def test_past_the_horizon_every_step_must_still_follow_from_the_one_before():
    arrays = _true(CHAOTIC)
    against = reference_of(CHAOTIC)
    assert judge(CHAOTIC, Outcome(arrays), against).verdict == "chaotic"
    arrays["output"][against.horizon + 20 :] *= np.float32(-1)
    judgement = judge(CHAOTIC, Outcome(arrays), against)
    assert judgement.verdict == "fail"
    assert "does not follow from the state before it" in judgement.reason
    arrays = _true(CHAOTIC)
    arrays["h_n"] = arrays["h_n"][:, :, ::-1]
    judgement = judge(CHAOTIC, Outcome(arrays), against)
    assert judgement.reason == "h_n is not the output at the last step"


def test_values_that_tanh_does_not_have_fail_in_every_row():
    case = Case(config=RNNConfig(input_size=512, hidden_size=512), T=40, B=64)
    against = reference_of(case)
    output = np.zeros((40, 64, 512), np.float32)
    output[:, against.problem.rows] = against.true.values["output"]
    unseen = next(b for b in range(64) if b not in against.problem.rows)
    output[7, unseen, 3] = 1.5
    assert "tanh does not have" in judge(case, Outcome({"output": output}), against).reason


@pytest.mark.parametrize("invariant", [invariants.AUTODIFF, invariants.ROW, invariants.THREADS])
def test_a_broken_invariant_fails_also_beside_a_nan_that_is_not_judged(invariant):
    case = Case(
        config=RNNConfig(input_size=2, hidden_size=32, nonlinearity="relu"),
        T=40,
        B=2,
        dtype="float16",
        regime="radius3",
    )
    against = reference_of(case)
    with np.errstate(over="ignore"):
        arrays = _true(case, "float16")
    other = {name: array.copy() for name, array in arrays.items()}
    other["output"][-1] = np.nan
    assert judge(case, Outcome(arrays, invariants={invariant: other}), against).verdict == "chaotic"
    other["output"][1] += np.float16(1)
    judgement = judge(case, Outcome(arrays, invariants={invariant: other}), against)
    assert judgement.verdict == "fail"
    assert judgement.reason.startswith(invariant)


@pytest.mark.parametrize("change", [{"weight_ih_l0": 0}, {"bias_ih_l0": 30}])
def test_a_network_that_ignores_its_input_is_not_taken_for_a_cached_result(tmp_path, change):
    from rnnparity.problems import weights

    problem = reference_of(PLAIN).problem
    parameters = problem.weights | {
        name: np.full_like(problem.weights[name], value) for name, value in change.items()
    }
    weights.write(tmp_path / "w.safetensors", parameters)
    case = PLAIN.replace(weights=str(tmp_path / "w.safetensors"), invariants=True)
    assert evaluate("numpy-loop", "cpu", case).verdict == "pass"


@pytest.mark.parametrize("regime", ["constant", "positive", "identity"])
@pytest.mark.parametrize("name", ["torch-rnn", "numpy-loop", "torch-loop", "jax-scan"])
def test_errors_that_are_alike_are_expected_to_add_up(name, regime):
    """Equal weights make equal errors: independent ones in the model would fail all four here."""
    case = Case(config=RNNConfig(input_size=4, hidden_size=256), T=100, B=2, regime=regime)
    judgement = evaluate(name, "cpu", case)
    assert judgement.verdict == "pass", judgement.reason
    assert max(quantity.z for quantity in judgement.quantities.values()) < LIMIT / 2


def _side_by_side(*pairs):
    """Return the sum of the products as one product."""
    values, weights = zip(*pairs, strict=True)
    return np.concatenate(values, 1) @ np.concatenate(weights, 1).T


def _term_by_term(*pairs):
    """Return the sum of the products, added up term by term."""
    a = np.zeros((len(pairs[0][0]), len(pairs[0][1])), pairs[0][0].dtype)
    for value, weight in pairs:
        for k in range(value.shape[1]):
            a += value[:, k, None] * weight[:, k]
    return a


@pytest.mark.parametrize("together", [_side_by_side, _term_by_term])
@pytest.mark.parametrize("state_first", [False, True])
@pytest.mark.parametrize(
    ("I", "H", "regime", "seed"),
    [
        (2, 512, "constant", 0),
        (2, 512, "positive", 3),
        (2, 512, "saturated", 3),
        (2, 1024, "positive", 2),
        (1024, 64, "identity", 0),
    ],
)
def test_both_products_may_be_one_sum(together, state_first, I, H, regime, seed):
    """Many small terms then meet a few large ones, and are rounded at their size."""
    config = RNNConfig(input_size=I, hidden_size=H)
    case = Case(config=config, T=60, B=4, regime=regime, seed=seed)
    against = reference_of(case)
    problem = against.problem
    weight_ih, weight_hh, *biases = problem.weights.values()
    h, output = problem.h0[0], []
    for x in problem.x:
        pairs = [(x, weight_ih), (h, weight_hh)]
        h = np.tanh(together(*(pairs[::-1] if state_first else pairs)) + (biases[0] + biases[1]))
        output.append(h)
    judgement = judge(case, Outcome({"output": np.stack(output), "h_n": h[None]}), against)
    assert judgement.verdict == "pass", judgement.reason
    assert max(quantity.z for quantity in judgement.quantities.values()) < LIMIT / 2
