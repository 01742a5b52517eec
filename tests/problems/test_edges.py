"""The edges of kernels: sizes there, features in pairs, and that `quick` sees every known mistake.

Besides, what large cases cost: how many rows are judged, and when what is shared is dropped.
"""

import itertools

import numpy as np
import pytest
from conftest import reference_of

from rnnparity.cells.config import KINDS, RNNConfig
from rnnparity.judging.diagnosis import OBSERVABLE, effect
from rnnparity.judging.mistakes import every_mistake
from rnnparity.judging.verdict import judge
from rnnparity.problems import arrays, edges, presets
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import NAMES
from rnnparity.runs.shared import Shared
from rnnparity.selftest.sensitivity import wrong_outcome

# Mistakes that no case of `quick` shows, and the preset that does.
SEEN_ELSEWHERE: dict[str, str] = {}


def _cost(case):
    config = case.config
    width = config.hidden_size * (config.input_size + config.hidden_size)
    return case.T * (case.B or 1) * config.num_cells * width


def _shows(case, mistake):
    """Whether a case fails an implementation with this mistake."""
    against = reference_of(case)
    if effect(case, mistake, against) <= OBSERVABLE:
        return False
    outcome = wrong_outcome(case, mistake, against)
    return judge(case, outcome, against).verdict == "fail"


def test_quick_sees_every_known_mistake_or_another_preset_is_named():
    """The cheapest case first; nearly every mistake is seen by one of the first few."""
    cases = sorted((c for kind in KINDS for c in presets.preset("quick", kind)), key=_cost)
    unseen = {
        mistake.name
        for mistake in every_mistake()
        if not any(_shows(case, mistake) for case in cases if mistake.applies(case))
    }
    assert unseen == set(SEEN_ELSEWHERE)
    by_name = {mistake.name: mistake for mistake in every_mistake()}
    for name, preset in SEEN_ELSEWHERE.items():
        cases = sorted(presets.preset(preset), key=_cost)
        assert any(_shows(c, by_name[name]) for c in cases if by_name[name].applies(c)), name


def test_a_wrong_implementation_is_seen_by_no_case_that_is_not_at_its_edge():
    """The preset without its edges: that is what it was blind to."""
    (mistake,) = (m for m in every_mistake() if m.name == "the state lost every 128 steps")
    small = [case for case in presets.preset("quick") if case not in set(edges.quick())]
    assert not any(_shows(case, mistake) for case in small if mistake.applies(case))


def test_covering_lets_every_two_values_meet():
    factors = {"a": (1, 2, 3), "b": (1, 2, 3, 4), "c": (True, False), "d": ("x", "y")}
    rows = edges.covering(factors)
    for (one, values), (other, others) in itertools.combinations(factors.items(), 2):
        met = {(row[one], row[other]) for row in rows}
        assert met == set(itertools.product(values, others))
    assert len(rows) <= 15  # 12 are needed, 48 are possible
    assert edges.covering(factors) == rows
    assert edges.covering(factors, there=rows) == []


def test_covering_leaves_out_what_is_not_allowed():
    factors = {"a": (1, 2, 3), "b": (1, 2, 3), "c": (1, 2)}
    rows = edges.covering(factors, lambda row: row.get("a", 1) * row.get("b", 1) < 9)
    met = {(row["a"], row["b"]) for row in rows}
    assert met == set(itertools.product((1, 2, 3), repeat=2)) - {(3, 3)}


def test_every_size_at_an_edge_is_there_and_every_two_features_meet():
    cases = presets.preset("edges")
    assert set(cases) <= set(presets.preset("full"))
    assert set(edges.quick()) <= set(presets.preset("quick"))
    for members in edges.LARGE:
        for size in (
            {case.T for case in cases},
            {case.B for case in cases},
            {case.config.input_size for case in cases},
            {case.config.hidden_size for case in cases},
        ):
            assert set(members) <= size
            for small in edges.SMALL:
                assert set(small) & size
    quick = [edges._features(case) for case in edges.quick()]
    rows = [edges._features(case) for case in cases]
    for (one, values), (other, others) in itertools.combinations(edges.FEATURES.items(), 2):
        expected = set(itertools.product(values, others))
        assert {(row[one], row[other]) for row in rows} == expected
        shallow = {pair for pair in expected if 2 not in pair or "num_layers" not in (one, other)}
        assert shallow <= {(row[one], row[other]) for row in quick}


def test_edges_are_where_they_should_be():
    cases = presets.preset("quick")
    every = [(c.T, c.B or 1, c.config.input_size, c.config.hidden_size) for c in cases]
    for one, other in itertools.combinations(range(4), 2):
        assert any(sizes[one] == sizes[other] > 1 for sizes in every), "TBIH"[one] + "TBIH"[other]
    for size, few in itertools.product(range(4), (1, 2, 3)):
        assert any(sizes[size] == few for sizes in every), ("TBIH"[size], few)
    assert any(case.T == case.B and case.config.batch_first for case in cases)
    for dtype, nonlinearity in itertools.product(NAMES, ("tanh", "relu")):
        both = [c for c in cases if (c.dtype, c.config.nonlinearity) == (dtype, nonlinearity)]
        assert any(case.regime == "torch-init" for case in both), (dtype, nonlinearity)
    assert any(case.strided for case in cases)
    assert max(case.T for case in cases) > 256
    assert any(case.B > 128 for case in cases if case.weights is None and case.B)
    assert any(case.config.num_layers == 4 and case.config.bidirectional for case in cases)
    changes = [tuple(np.sign(np.subtract(b, a))) for a, b in itertools.pairwise(every)]
    for size in range(4):  # one gets smaller, or the same with fewer; and large again
        assert any(change[size] < 0 and max(change) <= 0 for change in changes)
        assert any(change[size] > 0 for change in changes)


def test_states_outgrow_what_is_clipped_and_all_is_judged():
    for case in edges.quick():
        assert all(mask.all() for mask in reference_of(case).judged.values()), case.id
        largest = np.abs(reference_of(case).true.values["output"]).max()
        if case.regime == "huge":
            assert largest > 2**16
        if case.regime == "thousands":
            assert largest > 2048


@pytest.mark.parametrize(
    ("T", "B", "I", "H", "rows"), [(1000, 16, 512, 2, 4), (12, 4, 8, 16, 4), (20, 64, 8192, 8, 16)]
)
def test_judging_counts_the_inputs(T, B, I, H, rows):
    """By hidden units alone, all of the first one's rows were judged, and took 3.3 GB."""
    case = Case(config=RNNConfig(input_size=I, hidden_size=H), T=T, B=B)
    count = len(arrays.judged_rows(case))
    assert 1 <= count <= rows
    replicas = arrays.REPLICAS * 4 * T * count * (4 * H + 3 * I)
    assert replicas <= arrays.JUDGE_BYTES


def test_what_all_have_passed_is_dropped_and_what_is_kept_is_bounded():
    made = []

    def make(key):
        made.append(key)
        if key == "wrong":
            raise ValueError(key)
        return bytes(10)

    shared = Shared(make, len, users=2, most=25, hold=lambda key: key == "held")
    for key in "ab":
        assert shared.get(key) is shared.get(key)
    shared.passed("a")
    assert set(shared.made) == {"a", "b"}
    shared.passed("a")
    assert set(shared.made) == {"b"}
    for key in ("held", "c", "d", "e"):
        shared.get(key)
    assert set(shared.made) == {"held", "d", "e"}
    shared.get("b")  # dropped: made again
    assert made == ["a", "b", "held", "c", "d", "e", "b"]
    shared.passed(["held", "held"])
    assert "held" in shared.made
    for _ in range(2):
        with pytest.raises(ValueError, match="wrong"):
            shared.get("wrong")
