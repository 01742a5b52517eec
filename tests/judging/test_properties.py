"""Properties over configurations and sizes, found by hypothesis."""

import hypothesis.strategies as st
import pytest
from conftest import evaluate
from hypothesis import HealthCheck, given, settings

from rnnparity.cells.config import RNNConfig
from rnnparity.problems.cases import Case

pytestmark = pytest.mark.machine

sizes = st.integers(1, 9)


@st.composite
def cases(draw):
    config = RNNConfig(
        input_size=draw(sizes),
        hidden_size=draw(sizes),
        num_layers=draw(st.integers(1, 3)),
        nonlinearity=draw(st.sampled_from(("tanh", "relu"))),
        bias=draw(st.booleans()),
        batch_first=draw(st.booleans()),
        bidirectional=draw(st.booleans()),
    )
    batch = draw(sizes | st.none())
    return Case(
        config=config,
        T=draw(st.integers(1, 12)),
        B=batch,
        dtype=draw(st.sampled_from(("float32", "float64"))),
        regime=draw(st.sampled_from(("torch-init", "contractive", "critical", "tiny", "wiring"))),
        seed=draw(st.integers(0, 2**32)),
        ragged=batch is not None and draw(st.booleans()),
        h0=draw(st.booleans()),
        one_more_step=draw(st.booleans()),
    )


@pytest.mark.parametrize(
    ("name", "examples"),
    [("torch-rnn", 150), ("numpy-loop", 150), ("torch-loop", 150), ("jax-scan", 15)],
)
def test_any_configuration_agrees_with_the_truth(name, examples):
    evaluate(name, "cpu", Case(config=RNNConfig(input_size=1, hidden_size=1), T=1))  # or skip

    chaotic = []

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=cases())
    def agrees(case):
        judgement = evaluate(name, "cpu", case)
        # Of a few units behind relu, all may be so near the kink that nothing can be said of one.
        if judgement.verdict == "chaotic" and case.config.nonlinearity == "relu":
            chaotic.append(case.id)
            return
        assert judgement.verdict == "pass", f"{case.id}: {judgement.reason}"

    agrees()
    assert len(chaotic) <= examples // 10, chaotic


def test_one_more_step_is_judged_by_the_size_of_the_steps_before():
    """Behind relu one step may be all zeros but for what is next to the kink: found by chance."""
    config = RNNConfig(input_size=4, hidden_size=2, nonlinearity="relu", bidirectional=True)
    case = Case(config=config, T=2, B=4, regime="tiny", seed=2, h0=False, one_more_step=True)
    judgement = evaluate("numpy-loop", "cpu", case)
    assert judgement.verdict == "pass", judgement.reason
