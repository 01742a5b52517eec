"""The right ways are right, differ from each other, and the verdict tells a wrong one from them."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import reference_of

from rnnparity.cells.config import RNNConfig
from rnnparity.judging.difference import judged_part
from rnnparity.judging.verdict import judge
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import spacing
from rnnparity.selftest.right_ways import WAYS, nonlinearities, outcome, sums
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


IN_FLOAT64 = [
    pytest.param(way, case, id=f"{way.name}-{case.id}")
    for case in (case.replace(dtype="float64") for case in (PLAIN, MEETING, UNBATCHED))
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


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_no_way_is_failed(dtype):
    for case in (PLAIN, MEETING, UNBATCHED):
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


def _last_term_left_out(a, b, onto):
    return sums.ASCENDING.adds(a[:, :-1], b[:-1], onto)


def _tile_counted_twice(a, b, onto):
    return sums.BLAS.adds(a, b, onto) + a[:, 8:16] @ b[8:16]


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
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
)


@pytest.mark.parametrize(("name", "case"), FOUND, ids=[name for name, _ in FOUND])
def test_what_the_self_test_found_passes(name, case):
    way = next(way for way in WAYS if way.name == name)
    against = reference_of(case)
    judgement = judge(case, outcome(way, case, against.problem), against)
    assert judgement.verdict in ("pass", "chaotic"), judgement.reason
    assert judgement.quantities["output"].judged > 0.5
