"""The edges of kernels: every pair of features meets, and every known mistake is seen by `quick`."""

import itertools

import numpy as np
import pytest
from conftest import evaluate, reference_of

from rnnparity import edges, presets, selftest
from rnnparity.diagnosis import OBSERVABLE, effect
from rnnparity.mistakes import every_mistake
from rnnparity.verdict import judge

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
    outcome = selftest.wrong_outcome(case, mistake, against)
    return judge(case, outcome, against).verdict == "fail"


def test_quick_sees_every_known_mistake_or_another_preset_is_named():
    """The cheapest case first; nearly every mistake is seen by one of the first few."""
    cases = sorted(presets.preset("quick"), key=_cost)
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
