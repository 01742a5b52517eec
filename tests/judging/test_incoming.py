"""Which gradient that comes in is counted otherwise than once, in stacks and gated cells, too."""

import pytest
import wrong_implementations
from conftest import evaluate

from rnnparity.cells.config import RNNConfig
from rnnparity.problems.cases import Case

CONFIGS = {
    "plain": {},
    "relu": {"nonlinearity": "relu"},
    "deep": {"num_layers": 3},
    "both ways": {"bidirectional": True},
}
# In every layer of its own, or of a layer that is the only one.
RECEIVED = {
    "that of the last output left out": "go[-1] = 0",
    "that of the output but its last step with its sign reversed": "go[:-1] = -go[:-1]",
    "that of the output times 0.08333 (1 / T)": "go /= 12",
    "that of the output with its sign reversed": "go = -go",
    "that of h_n times 0.25 (1 / B)": "gn /= 4",
    "that of the output with its sign reversed and that of h_n left out": "go, gn = -go, 0 * gn",
}
WHOLE = """
import torch
from recurrences.{kind} import torch_rnn as right

framework = "torch"
kind = "{kind}"
prepare = right.prepare


class Changed(torch.autograd.Function):
    @staticmethod
    def forward(context, output):
        return output.clone()

    @staticmethod
    def backward(context, go):
        go = go.clone()
        {change}
        return go


def rnn(x, h0, module, config, lengths):
    output, last = right.rnn(x, h0, module, config, lengths)
    return Changed.apply(output), last
"""


def case_of(dtype="float32", **given):
    config = RNNConfig(input_size=8, hidden_size=16, **given)
    return Case(config=config, T=12, B=4, dtype=dtype)


def said_of(path, case):
    judgement = evaluate(str(path), "cpu", case)
    assert judgement.verdict == "fail", judgement.reason
    return judgement.reason


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("says", RECEIVED)
def test_one_layers_backward_pass_is_told_what_it_counts(tmp_path, says, dtype):
    change = f"""
def received(go, gn, output):
    go, gn = go.copy(), gn.copy()
    {RECEIVED[says]}
    return go, gn"""
    path = wrong_implementations.write(tmp_path, change)
    for name in ("plain", "relu"):
        reason = said_of(path, case_of(dtype, **CONFIGS[name]))
        assert f"what is off equals the gradients with {says} (within " in reason


@pytest.mark.parametrize("name", ["deep", "both ways"])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_a_stack_is_told_what_it_counts(tmp_path, kind, name):
    for says in list(RECEIVED)[:4]:
        path = tmp_path / f"whole_{kind}_{len(says)}.py"
        path.write_text(WHOLE.format(kind=kind, change=RECEIVED[says]))
        reason = said_of(path, case_of(kind=kind, **CONFIGS[name]))
        assert f"what is off equals the gradients with {says} (within " in reason


UNRELATED = {
    "a share that is no usual one": "go *= go.dtype.type(0.7)",
    "noise": "go += np.random.default_rng(0).standard_normal(go.shape).astype(go.dtype)",
    "one row": "go[:, 0] = 0",
}


@pytest.mark.parametrize("wrong", UNRELATED)
def test_nothing_is_claimed_of_others(tmp_path, wrong):
    change = (
        f"def received(go, gn, o):\n    go = go.copy()\n    {UNRELATED[wrong]}\n    return go, gn"
    )
    path = wrong_implementations.write(tmp_path, change)
    assert "equal" not in said_of(path, case_of())
