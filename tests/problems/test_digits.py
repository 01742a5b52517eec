"""The trained model: it reads digits, and every implementation reads the same ones."""

import numpy as np
import pytest
from conftest import evaluate, reference_of

from rnnparity.implementations.outcome import Outcome
from rnnparity.judging.verdict import judge
from rnnparity.problems import digits, presets

pytestmark = pytest.mark.machine


def test_the_stored_model_is_accurate():
    h_n = reference_of(presets.trained("float64")).true.values["h_n"]
    labels = digits.load().labels
    assert len(labels) == 360
    assert (digits.predict(h_n) == labels).mean() >= 0.95


@pytest.mark.parametrize("name", ["torch-rnn", "numpy-loop", "jax-scan", "torch-loop"])
def test_every_implementation_reads_the_same_digits(name):
    assert evaluate(name, "cpu", presets.trained("float32")).verdict == "pass"


def test_another_digit_is_noticed_where_the_numbers_pass(monkeypatch):
    from rnnparity.judging import difference

    monkeypatch.setattr(difference, "LIMIT", 1e30)  # so that only the digits can object
    case = presets.trained("float32")
    against = reference_of(case)
    names = ("output", "h_n")
    arrays = {name: against.true.values[name].astype(np.float32) for name in names}
    assert judge(case, Outcome(arrays), against).verdict == "pass"
    arrays["h_n"] = np.roll(arrays["h_n"], 1, axis=1)
    judgement = judge(case, Outcome(arrays), against)
    assert judgement.verdict == "fail"
    assert "reads another digit" in judgement.reason
