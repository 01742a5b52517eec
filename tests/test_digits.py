"""The trained model: it reads digits, and every implementation reads the same ones."""

import numpy as np
import pytest
from conftest import evaluate

from rnnparity import digits, presets, problems
from rnnparity.execution import Outcome
from rnnparity.truth import truth
from rnnparity.verdict import judge


def test_the_stored_model_is_accurate():
    case = presets.trained("float64")
    h_n = truth(case, problems.build(case))["h_n"]
    labels = digits.load().labels
    assert len(labels) == 360
    assert (digits.predict(h_n) == labels).mean() >= 0.95


@pytest.mark.parametrize("name", ["torch-rnn", "numpy-loop", "jax-scan", "torch-loop"])
def test_every_implementation_reads_the_same_digits(name):
    assert evaluate(name, "cpu", presets.trained("float32"))[0] == "pass"


def test_another_digit_is_noticed_where_the_numbers_pass(monkeypatch):
    from rnnparity import verdict

    monkeypatch.setitem(verdict.LIMITS, "float32", 1e9)  # so that only the digits can object
    case = presets.trained("float32")
    expected = truth(case, problems.build(case))
    arrays = {name: value.astype(np.float32) for name, value in expected.items()}
    assert judge(case, Outcome(arrays), expected, None)[0] == "pass"
    arrays["h_n"] = np.roll(arrays["h_n"], 1, axis=1)
    found, reason, _ = judge(case, Outcome(arrays), expected, None)
    assert found == "fail"
    assert "reads another digit" in reason
