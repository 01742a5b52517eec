"""The right ways are right, differ from each other, and the verdict tells a wrong one from them."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from conftest import reference_of

from rnnparity.cells.config import KINDS, RNNConfig
from rnnparity.judging.difference import judged_part
from rnnparity.judging.unit.arithmetic import LOGISTIC_ULP
from rnnparity.judging.verdict import judge
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import NAMES, spacing
from rnnparity.selftest.right_ways import WAYS, gates, nonlinearities, outcome, steps, sums
from rnnparity.selftest.right_ways.kernel import Kernel
from rnnparity.selftest.soundness import judge_ways

PLAIN = Case(config=RNNConfig(input_size=8, hidden_size=24), T=18, B=5)
MEETING = Case(
    config=RNNConfig(
        input_size=5, hidden_size=7, num_layers=2, bidirectional=True, batch_first=True
    ),
    T=9,
    B=4,
    ragged=True,
    one_more_step=True,
)
UNBATCHED = Case(config=RNNConfig(input_size=3, hidden_size=9, nonlinearity="relu"), T=6)


def of_kind(case, kind):
    config = msgspec.structs.replace(case.config, kind=kind, nonlinearity="tanh")
    return case.replace(config=config)


CASES = {"rnn": (PLAIN, MEETING, UNBATCHED)} | {
    kind: tuple(of_kind(case, kind) for case in (PLAIN, MEETING, UNBATCHED))
    for kind in ("gru", "lstm")
}
IN_FLOAT64 = [
    pytest.param(way, case, id=f"{way.name}-{case.id}")
    for cases in CASES.values()
    for case in (case.replace(dtype="float64") for case in cases)
    for way in WAYS
    if way.applies(case)
]


@pytest.mark.parametrize(("way", "case"), IN_FLOAT64)
def test_every_way_is_right_whatever_the_verdict_says(way, case):
    """By the plainest measure: to 13 digits of each quantity's size."""
    against = reference_of(case)
    found = outcome(way, case, against.problem)
    assert found.arrays.keys() == against.true.values.keys()
    for name, array in found.arrays.items():
        true = against.true.values[name].astype(np.float64)
        error = np.abs(judged_part(case, name, array, against) - true).max()
        assert error <= 1e-13 * np.abs(true).max(), name


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_every_way_of_gates_has_the_gradients_of_autograd(kind):
    """By PyTorch's layer in float64, which has nothing of the harness in it."""
    torch = pytest.importorskip("torch")
    config = RNNConfig(input_size=5, hidden_size=7, num_layers=2, bidirectional=True, kind=kind)
    case = Case(config=config, T=6, B=3, dtype="float64")
    problem = reference_of(case).problem
    module = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[kind](
        5, 7, num_layers=2, bidirectional=True, dtype=torch.float64
    )
    module.load_state_dict({name: torch.tensor(w) for name, w in problem.weights.items()})
    x, h0 = (torch.tensor(a, requires_grad=True) for a in (problem.x, problem.h0))
    given = {"x": x, "h0": h0}
    if kind == "lstm":
        given["c0"] = torch.tensor(problem.c0, requires_grad=True)
    output, last = module(x, h0 if kind == "gru" else (h0, given["c0"]))
    made = {"output": output} | dict(
        zip(("h_n", "c_n"), last if kind == "lstm" else (last,), strict=False)
    )
    sum((torch.tensor(getattr(problem, f"grad_{n}")) * a).sum() for n, a in made.items()).backward()
    expected = {name: value.detach() for name, value in made.items()}
    expected |= {f"grad_{name}": value.grad for name, value in given.items()}
    expected |= {f"grad_{name}": value.grad for name, value in module.named_parameters()}
    for way in WAYS:
        if way.applies(case):
            found = outcome(way, case, problem).arrays
            assert found.keys() == expected.keys()
            for name, value in expected.items():
                error = np.abs(found[name] - value.numpy()).max()
                assert error <= 1e-13 * float(value.abs().max()), (way.name, name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", NAMES)
def test_no_way_is_failed(dtype, kind):
    for case in CASES[kind]:
        runs, rejected = judge_ways(case.replace(dtype=dtype))
        assert len(runs) > 40
        assert not rejected


def test_there_are_many_and_they_round_differently():
    """Those that add up by a loop of their own; what BLAS makes of the others is its own affair.

    In 16 bits most orders of a sum in float32 are the same once rounded.
    """
    assert len(WAYS) == len({way.name for way in WAYS}) >= 30
    for dtype, least in (("float32", 17), ("float64", 17), ("bfloat16", 8)):
        case = PLAIN.replace(dtype=dtype)
        problem = reference_of(case).problem
        ways = [way for way in WAYS if way.applies(case) and way.order.at_once is not None]
        made = {
            b"".join(array.tobytes() for array in outcome(way, case, problem).arrays.values())
            for way in ways
        }
        assert len(made) >= least, dtype


def test_a_way_that_calls_a_library_is_left_out_where_there_is_none():
    (way,) = [way for way in WAYS if way.needs == "torch"]
    case = CASES["gru"][0]
    assert replace(way, needs="rnnparity").applies(case)
    assert not replace(way, needs="no_such_library").applies(case)


def _last_term_left_out(a, b, onto):
    return sums.ASCENDING.adds(a[:, :-1], b[:-1], onto)


def _tile_counted_twice(a, b, onto):
    return sums.BLAS.adds(a, b, onto) + a[:, 8:16] @ b[8:16]


@pytest.mark.parametrize("dtype", NAMES)
@pytest.mark.parametrize(
    "change",
    [
        {"order": sums.Sum(_last_term_left_out, 1)},
        {"order": sums.Sum(_tile_counted_twice)},
        {"slope": lambda h, a, round_: round_(1 - h)},
        {"weights": lambda work, grad_a, factor: work.dot(grad_a[1:].sum(0).T, factor[0])},
    ],
    ids=["last term", "tile twice", "slope", "weights"],
)
def test_a_wrong_way_is_failed(change, dtype):
    case = PLAIN.replace(dtype=dtype)
    against = reference_of(case)
    wrong = replace(WAYS[0], **change)
    assert judge(case, outcome(wrong, case, against.problem), against).verdict == "fail"


def _biases_joined(work, x, cell):
    """A GRU's b_hn outside of the reset gate: with one bias, it is in the input's part."""
    from_x = work.dot(x.reshape(-1, x.shape[2]), cell.weight_ih.T).reshape(*x.shape[:2], -1)
    from_x = work.round(from_x + work.round(cell.bias_ih + cell.bias_hh))
    return lambda t, h: (from_x[t], work.dot(h, cell.weight_hh.T))


@pytest.mark.parametrize("dtype", NAMES)
def test_a_grus_biases_may_not_be_joined(monkeypatch, dtype):
    case = CASES["gru"][0].replace(dtype=dtype)
    against = reference_of(case)
    monkeypatch.setattr(steps, "apart", lambda meets: _biases_joined)
    assert judge(case, outcome(WAYS[0], case, against.problem), against).verdict == "fail"


EXCHANGED = gates.INTERPOLATED._replace(
    state=lambda w, z, n, h, a: w.add_products(z, n, w.round(1 - z), h)
)
WRONG_OF_Z = gates.INTERPOLATED._replace(of_z=lambda w, g, n, h: w.round(g * w.round(n - h)))
WRONG_OF_N = gates.INTERPOLATED._replace(of_n=lambda w, g, z, a: w.round(g * z))


@pytest.mark.parametrize("dtype", NAMES)
@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("gru", {"update": EXCHANGED}),
        ("gru", {"update": WRONG_OF_Z}),
        ("gru", {"update": WRONG_OF_N}),
        ("gru", {"logistic_slope": lambda s, a, round_: s}),
        ("gru", {"order": sums.Sum(_last_term_left_out, 1)}),
        ("lstm", {"logistic": lambda a, tanh, round_: np.clip(a / 6 + a.dtype.type(0.5), 0, 1)}),
        ("lstm", {"logistic_slope": lambda s, a, round_: s}),
        ("lstm", {"slope": lambda h, a, round_: round_(1 - h)}),
        ("lstm", {"order": sums.Sum(_tile_counted_twice)}),
    ],
)
def test_a_wrong_way_of_gates_is_failed(kind, change, dtype):
    case = CASES[kind][0].replace(dtype=dtype)
    against = reference_of(case)
    wrong = replace(WAYS[0], **change)
    assert judge(case, outcome(wrong, case, against.problem), against).verdict == "fail"


ARGUMENTS = np.concatenate((np.linspace(-40, 40, 20001), np.linspace(-800, 800, 401)))


@pytest.mark.parametrize("dtype", NAMES)
@pytest.mark.parametrize(
    "way", [way for way in WAYS if way.kinds != tuple(KINDS)], ids=lambda way: way.name
)
def test_every_logistic_function_is_as_right_as_is_promised(way, dtype):
    """Within some units in the last place of 1/2, and at its bound within 8 times itself."""
    work = Kernel(way, dtype)
    with np.errstate(over="ignore"):
        a = work.up(ARGUMENTS)
        true = nonlinearities.logistic_of_size(a.astype(np.longdouble), np.tanh, np.asarray)
        error = np.abs(work.to_kept(work.logistic(a)) - true)
    allowed = LOGISTIC_ULP[dtype] * spacing(np.asarray(0.5), dtype)
    assert (error <= allowed).all()
    if way.logistic_off:
        assert (error > allowed / 2).any()
        assert (error <= 8 * true + spacing(true, dtype)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "tanh",
    [
        nonlinearities.by_higher,
        nonlinearities.by_expm1,
        nonlinearities.by_continued_fraction,
        nonlinearities.by_parts,
    ],
)
def test_every_tanh_has_a_small_relative_error(tanh, dtype):
    """Within 5 units in the last place, near zero and far out, and never beyond 1."""
    near = np.ldexp(1.0 + np.linspace(0, 1, 500, endpoint=False), -np.arange(0, 60, 4)[:, None])
    a = np.concatenate((near.ravel(), np.linspace(-25, 25, 20001))).astype(dtype)
    true = np.tanh(a.astype(np.longdouble))
    h = tanh(a)
    assert h.dtype == a.dtype
    assert np.abs(h).max() <= 1
    assert (np.abs(h - true) / spacing(true, dtype)).max() < 5


def test_a_form_with_an_absolute_error_is_none_of_them():
    """What is left out on purpose is out by far more than 5 units near zero."""
    a = np.float32(2.0**-12) * np.linspace(1, 2, 100, dtype=np.float32)
    e = np.exp(2 * a)
    off = (e - 1) / (e + 1) - np.tanh(a.astype(np.float64))
    assert (np.abs(off) / spacing(np.tanh(a), "float32")).max() > 100


@pytest.mark.parametrize(
    "order",
    [value for value in vars(sums).values() if isinstance(value, sums.Sum)],
    ids=[name for name, value in vars(sums).items() if isinstance(value, sums.Sum)],
)
@pytest.mark.parametrize("shape", [(3, 1, 2), (5, 37, 4), (9, 300, 3)])
def test_every_order_adds_up_all_terms(order, shape):
    N, n, m = shape
    rng = np.random.default_rng(0)
    a, b, onto = rng.random((N, n)), rng.random((n, m)), rng.random((N, m))
    given = onto.copy()
    assert order.adds(a, b, None) == pytest.approx(a @ b, rel=1e-13)
    assert order.adds(a, b, onto) == pytest.approx(onto + a @ b, rel=1e-13)
    assert np.array_equal(onto, given)


# In float64 the error of one side of tanh is away from zero, whatever the state's sign is; behind
# relu, all replicas were on one side of a kink.
FOUND = (
    (
        "tanh as low as is right",
        Case(
            config=RNNConfig(input_size=26, hidden_size=20, bidirectional=True),
            T=291,
            B=7,
            dtype="float64",
            regime="tiny",
            seed=1789057393,
            ragged=True,
        ),
    ),
    (
        "terms added pairwise",
        Case(
            config=RNNConfig(input_size=262, hidden_size=18, nonlinearity="relu", bias=False),
            T=69,
            B=10,
            dtype="bfloat16",
            regime="zero-inputs",
            seed=1297448123,
        ),
    ),
    (
        "1 - z by the logistic function of -a",
        Case(
            config=RNNConfig(input_size=39, hidden_size=1, num_layers=3, bias=False, kind="gru"),
            T=90,
            B=10,
            dtype="float64",
            regime="saturated-rows",
            seed=1164003012,
        ),
    ),
    (
        "tanh as high as is right",
        Case(
            config=RNNConfig(
                input_size=73,
                hidden_size=16,
                num_layers=3,
                bias=False,
                batch_first=True,
                kind="lstm",
            ),
            T=468,
            B=3,
            dtype="float64",
            regime="radius2.01",
            seed=2059970859,
        ),
    ),
)


@pytest.mark.parametrize(("name", "case"), FOUND, ids=[name for name, _ in FOUND])
def test_what_the_self_test_found_passes(name, case):
    way = next(way for way in WAYS if way.name == name)
    against = reference_of(case)
    judgement = judge(case, outcome(way, case, against.problem), against)
    assert judgement.verdict in ("pass", "chaotic"), judgement.reason
    assert judgement.quantities["output"].judged > 0.5
