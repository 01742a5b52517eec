"""Same case, same bits of input, on every machine."""

import hashlib

import numpy as np
import pytest

from rnnparity import presets, problems
from rnnparity.cases import Case
from rnnparity.config import RNNConfig
from rnnparity.errors import UsageError

CONFIG = RNNConfig(input_size=3, hidden_size=4, num_layers=2, bidirectional=True)


def _digest(case):
    problem = problems.build(case)
    arrays = [*problem.weights.values(), problem.x, problem.h0, problem.lengths]
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()[:16]


# Computed once, on x86-64 Linux with NumPy 2.4.6. A change here changes every published result.
BITS = {
    ("torch-init", "float32"): "f6754223b5e16319",
    ("expansive", "float64"): "e00d99fcc8754b54",
    ("wiring", "bfloat16"): "058f1f9bafa25e3a",
    ("tiny", "float16"): "16c7418aecd91abb",
}


@pytest.mark.parametrize(("regime", "dtype"), BITS)
def test_a_case_has_the_same_bits_everywhere(regime, dtype):
    case = Case(config=CONFIG, T=5, B=3, regime=regime, dtype=dtype, ragged=True)
    assert _digest(case) == BITS[regime, dtype]


def test_another_seed_is_another_problem():
    case = Case(config=CONFIG, T=5, B=3, ragged=True)
    assert _digest(case) != _digest(case.replace(seed=1))


@pytest.mark.parametrize(
    ("regime", "radius"), [("contractive", 0.5), ("critical", 1), ("expansive", 2)]
)
def test_spectral_radius_is_what_the_regime_says(regime, radius):
    config = RNNConfig(input_size=4, hidden_size=400)
    weight = problems.build(Case(config=config, T=1, B=1, regime=regime)).weights["weight_hh_l0"]
    assert np.abs(np.linalg.eigvals(weight)).max() == pytest.approx(radius, rel=0.1)


def test_wiring_has_one_weight_in_every_row_and_loses_no_state():
    problem = problems.build(Case(config=CONFIG, T=1, B=1, regime="wiring"))
    for name, value in problem.weights.items():
        if name.startswith("weight"):
            assert (np.count_nonzero(value, axis=1) == 1).all(), name
        if name.startswith("weight_hh"):
            assert (np.count_nonzero(value, axis=0) == 1).all(), name


def test_lengths_reach_from_one_to_all():
    for seed in range(20):
        lengths = problems.build(Case(config=CONFIG, T=7, B=5, ragged=True, seed=seed)).lengths
        assert lengths.max() == 7
        assert lengths.min() >= 1


def test_ids_are_unique_and_read_like_a_sentence():
    cases = presets.preset("full")
    assert len({case.id for case in cases}) == len(cases)
    case = Case(config=CONFIG, T=20, B=4, regime="critical")
    assert case.id == "float32-critical-bidirectional-2layers-T20-B4-I3-H4"


@pytest.mark.parametrize("bad", [{"T": 0, "B": 1}, {"T": 1, "B": 0}, {"T": 1, "ragged": True}])
def test_impossible_sizes_are_refused(bad):
    with pytest.raises(UsageError):
        Case(config=CONFIG, **bad)


def test_unknown_regime_names_the_known_ones():
    with pytest.raises(UsageError, match="no regime 'tame'"):
        problems.build(Case(config=CONFIG, T=1, B=1, regime="tame"))
