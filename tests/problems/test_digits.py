"""The trained model: it reads digits, and every implementation reads the same ones."""

import numpy as np
import pytest
from conftest import evaluate, reference_of

from rnnparity.implementations.outcome import Outcome
from rnnparity.judging.verdict import judge
from rnnparity.problems import digits, presets

pytestmark = pytest.mark.machine


KINDS = ("rnn", "gru", "lstm")


def trained(dtype, kind):
    (case,) = (
        presets.of_kind([presets.trained(dtype)], kind)
        if kind != "rnn"
        else [presets.trained(dtype)]
    )
    return case


@pytest.mark.parametrize("kind", KINDS)
def test_the_stored_model_is_accurate(kind):
    against = reference_of(trained("float64", kind))
    labels = digits.load(kind).labels
    assert len(labels) == 360
    assert len(against.problem.rows) > 200
    read = digits.predict(against.true.values["h_n"], kind)
    assert (read == labels[against.problem.rows]).mean() >= 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_of_its_images_is_judged_as_all_are(kind):
    case = trained("float64", kind).replace(judged=20)
    module = f"recurrences.{'elman' if kind == 'rnn' else kind}.numpy_loop"
    assert evaluate(module, "cpu", case).verdict == "pass"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["torch_rnn", "numpy_loop", "jax_scan", "torch_loop"])
def test_every_implementation_reads_the_same_digits(name, kind):
    module = f"recurrences.{'elman' if kind == 'rnn' else kind}.{name}"
    assert evaluate(module, "cpu", trained("float32", kind)).verdict == "pass"


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
