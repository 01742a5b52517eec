"""The unit: in which precision differences are followed."""

import numpy as np
import pytest

from rnnparity.cells.config import RNNConfig
from rnnparity.judging import unit
from rnnparity.judging.reference import reference
from rnnparity.problems.cases import Case


def test_what_float32_replicas_leave_out_is_underflow_of_what_is_zero(monkeypatch):
    """In relu's dead units gradients are exactly zero: float64 follows underflow's size there."""
    config = RNNConfig(input_size=3, hidden_size=32, nonlinearity="relu")
    case = Case(config=config, T=6, B=3)
    narrow = reference(case)
    assert (narrow.true.values["output"] == 0).mean() > 0.2
    monkeypatch.setattr(unit, "_precision", lambda true, arithmetic: np.float64)
    wide = reference(case)
    for name, units in wide.units.items():
        there = wide.true.values[name] != 0
        np.testing.assert_allclose(narrow.units[name][there], units[there], rtol=1e-3)
        assert (narrow.units[name] >= narrow.arithmetic.underflow).all()
        assert (units[~there] < 1e3 * narrow.arithmetic.underflow).all()


@pytest.mark.parametrize(("regime", "dtype"), [("torch-init", "float32"), ("subnormal", "float64")])
def test_numbers_below_what_float32_follows_are_followed_in_float64(regime, dtype):
    case = Case(config=RNNConfig(input_size=3, hidden_size=4), T=3, B=2, regime=regime)
    arithmetic = unit.Arithmetic.of("float32")
    assert unit._precision(reference(case).true, arithmetic) == np.dtype(dtype)
