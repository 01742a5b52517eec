"""Mistakes that people make most, in layers of every kind: each is named, by its own name first."""

import pytest
from conftest import reference_of

from rnnparity.cells.config import KINDS, RNNConfig
from rnnparity.judging.diagnosis import diagnose
from rnnparity.judging.mistakes import every_mistake
from rnnparity.judging.verdict import judge
from rnnparity.problems.cases import Case
from rnnparity.selftest.sensitivity import wrong_outcome

BY_NAME = {mistake.name: mistake for mistake in every_mistake()}
LAST = "the last state as every step of the output (one buffer kept T times)"
READ = "every layer reading x, not the layer below"
BIAS = "bias_hh left out at the first step, where there is no h0"


def case(kind, **options):
    options = dict(options)
    names = ("h0", "ragged", "one_more_step")
    of_case = {name: options.pop(name) for name in names if name in options}
    config = RNNConfig(input_size=8, hidden_size=options.pop("H", 16), kind=kind, **options)
    return Case(config=config, T=6, B=4, **of_case)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        (LAST, {}),
        (LAST, {"num_layers": 2}),
        (LAST, {"bidirectional": True}),
        (LAST, {"ragged": True}),
        ("the last state as every step of the output, in the last layer only", {"num_layers": 2}),
        (READ, {"num_layers": 2, "H": 8}),
        (READ, {"num_layers": 3, "H": 4, "bidirectional": True}),
        ("the layers from the third on reading x, not the layer below", {"num_layers": 3, "H": 8}),
        (BIAS, {"h0": False}),
        (BIAS, {"h0": False, "num_layers": 2, "bidirectional": True, "one_more_step": True}),
        ("the input's steps and rows reshaped, not transposed", {"num_layers": 2}),
        ("the input's rows and steps reshaped, not transposed", {"batch_first": True}),
        ("the output's steps and rows reshaped, not transposed", {}),
        ("the output's rows and steps reshaped, not transposed", {"batch_first": True}),
        ("each layer's input reshaped, not transposed", {"num_layers": 2}),
        ("each layer's input reshaped, not transposed", {"bidirectional": True}),
        ("each layer's output reshaped, not transposed", {"bidirectional": True}),
        (
            "steps and rows reshaped, not transposed, in the input and back in the output",
            {"num_layers": 2},
        ),
    ],
)
def test_it_is_named(kind, name, options):
    of = case(kind, **options)
    against = reference_of(of)
    mistake = BY_NAME[name]
    assert mistake.applies(of)
    outcome = wrong_outcome(of, mistake, against)
    assert judge(of, outcome, against).verdict == "fail"
    assert [match.mistake.name for match in diagnose(of, outcome, against)][:1] == [name]


def test_with_an_h0_its_bias_is_not_left_out():
    """One more step, with the last state fed back, has one."""
    assert not BY_NAME[BIAS].applies(case("rnn"))
    of = case("gru", h0=False, one_more_step=True)
    found = BY_NAME[BIAS].quantities(of, reference_of(of).problem, "float64")
    assert "next_output" in found
