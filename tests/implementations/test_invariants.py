"""What must hold of every call: nothing kept, nothing changed, the shape that was asked for."""

import numpy as np
import pytest
from conftest import border, evaluate, reference_of
from stateful_implementations import STATEFUL

from rnnparity import api
from rnnparity.cells.config import RNNConfig
from rnnparity.implementations import contract
from rnnparity.implementations.execution import execute
from rnnparity.implementations.outcome import result_shapes
from rnnparity.implementations.registry import Spec
from rnnparity.judging.verdict import judge
from rnnparity.problems import presets
from rnnparity.problems.cases import Case

PLAIN = Case(config=RNNConfig(input_size=8, hidden_size=16), T=12, B=4)

WHOLE = """
import numpy as np

framework = "numpy"


def rnn(x, h0, weights, config, lengths):
    h = np.zeros((x.shape[1], config.hidden_size), x.dtype) if h0 is None else h0[0]
    output = []
    for x_t in x:
        a = x_t @ weights["weight_ih_l0"].T + h @ weights["weight_hh_l0"].T
        h = np.tanh(a + weights["bias_ih_l0"] + weights["bias_hh_l0"])
        output.append(h)
    output, h_n = np.stack(output), h[None]
    {wrong}
    return output, h_n
"""

# First versions of whole implementations, and what is said of them.
RESULTS = {
    "output = output.swapaxes(0, 1)": "output has shape (4, 12, 16), expected (12, 4, 16)",
    "output = output[-1]": "output has shape (4, 16), expected (12, 4, 16)",
    "output = output.reshape(-1, 16)": "output has shape (48, 16), expected (12, 4, 16)",
    "output = np.concatenate((h_n, output))": "output has shape (13, 4, 16), expected",
    "output = output.astype(complex)": "output is complex128, expected float32",
    "output = output.astype(object)": "output is object, expected float32",
    "output = output[:, :1]": "output has shape (12, 1, 16), expected (12, 4, 16)",
    "h_n = h_n[0]": "h_n has shape (4, 16), expected (1, 4, 16)",
    "h_n = h_n[..., None]": "h_n has shape (1, 4, 16, 1), expected (1, 4, 16)",
    "h_n = None": "h_n: expected a numpy.ndarray, got a NoneType",
    "h_n = h_n.sum()": "h_n: expected a numpy.ndarray, got a float32",
    "output, h_n = h_n, output": "output has shape (1, 4, 16), expected (12, 4, 16)",
    "return output": "returned a ndarray, expected the pair (output, h_n)",
    "return output, h_n, None": "returned a tuple of 3, expected the pair (output, h_n)",
}


def _load(folder, name, source):
    path = folder / f"{name}.py"
    path.write_text(source)
    return contract.load(Spec(name, str(path)))


@pytest.mark.parametrize("wrong", RESULTS)
def test_another_result_is_one_line(tmp_path, wrong):
    whole = _load(tmp_path, "whole", WHOLE.format(wrong=wrong))
    for case in (PLAIN, PLAIN.replace(one_more_step=True), PLAIN.replace(invariants=True)):
        outcome = execute(whole, border("numpy"), case, reference_of(case).problem, "cpu")
        assert outcome.verdict == "fail"
        assert RESULTS[wrong] in outcome.reason


def test_a_result_of_another_shape_ends_no_run(tmp_path):
    path = tmp_path / "last_only.py"
    path.write_text(WHOLE.format(wrong="output = output[-1]"))
    names = ("numpy-loop", str(path), "torch-loop")
    run = api.check(*names, cases=[PLAIN], out=tmp_path / "run")
    verdicts = {record.implementation: record.verdict for record in run.records}
    assert verdicts == {"numpy-loop": "pass", "last_only": "fail", "torch-loop": "pass"}


def test_shapes_of_results_in_every_layout():
    config = RNNConfig(input_size=3, hidden_size=4, num_layers=2, bidirectional=True)
    first = RNNConfig(input_size=3, hidden_size=4, batch_first=True)
    assert result_shapes(config, (7, 5, 3)) == {"output": (7, 5, 8), "h_n": (4, 5, 4)}
    assert result_shapes(first, (5, 7, 3)) == {"output": (5, 7, 4), "h_n": (1, 5, 4)}
    assert result_shapes(first, (7, 3)) == {"output": (7, 4), "h_n": (1, 4)}


@pytest.mark.parametrize("name", STATEFUL)
def test_quick_sees_what_is_kept_between_calls(tmp_path, name):
    source, says = STATEFUL[name]
    wrong = _load(tmp_path, name, source)
    failures = []
    for case in presets.preset("quick"):
        outcome = execute(wrong, border("numpy"), case, reference_of(case).problem, "cpu")
        judgement = judge(case, outcome, reference_of(case))
        if judgement.verdict not in ("pass", "chaotic", "unsupported"):
            failures.append(judgement)
    assert {judgement.verdict for judgement in failures} == {"fail"}
    assert any(says in judgement.reason for judgement in failures)


def test_what_the_stateful_ones_are_built_on_is_right(tmp_path):
    """So that they are failed for what they keep, and nothing else."""
    from stateful_implementations import HEAD, _layer, _whole

    layer = "    return right(x, h0, cell, nonlinearity)\n"
    for name, source in (
        ("layer", _layer(layer)),
        ("whole", _whole("pass")),
        ("both", HEAD + "layer = right\nlayer_backward = right_backward\n"),
    ):
        right = _load(tmp_path, name, source)
        for case in presets.preset("quick"):
            outcome = execute(right, border("numpy"), case, reference_of(case).problem, "cpu")
            verdict = judge(case, outcome, reference_of(case)).verdict
            assert verdict in ("pass", "chaotic", "unsupported"), case.id


def test_an_input_with_gaps_is_read_as_it_is(tmp_path):
    """Taken for an array whose features lie side by side, it is another input."""
    flattened = """h0 = None if h0 is None else _flat(h0)
    x = _flat(x)
    h = np.zeros"""
    source = WHOLE.format(wrong="pass").replace("h = np.zeros", flattened)
    source += """

def _flat(view):
    memory = view if view.base is None else view.base
    return memory.reshape(-1)[: view.size].reshape(view.shape)
"""
    flat = _load(tmp_path, "flat", source)
    for strided, verdict in ((False, "pass"), (True, "fail")):
        case = PLAIN.replace(strided=strided)
        outcome = execute(flat, border("numpy"), case, reference_of(case).problem, "cpu")
        assert judge(case, outcome, reference_of(case)).verdict == verdict
    for name in ("numpy-loop", "torch-loop", "torch-rnn", "jax-scan"):
        assert evaluate(name, "cpu", PLAIN.replace(strided=True)).verdict == "pass"


def test_results_cut_off_and_not_rounded_are_told_from_rounded_ones():
    case = Case(
        config=RNNConfig(input_size=64, hidden_size=64, nonlinearity="relu"),
        T=1,
        B=16,
        regime="canary",
        dtype="bfloat16",
    )
    from rnnparity.implementations.outcome import Outcome

    against = reference_of(case)
    exact = {name: against.true.values[name].astype(np.float32) for name in ("output", "h_n")}
    rounded = {name: a.astype(against.problem.x.dtype) for name, a in exact.items()}
    cut = {
        name: (a.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
        for name, a in exact.items()
    }
    cut = {name: a.astype(against.problem.x.dtype) for name, a in cut.items()}
    assert judge(case, Outcome(rounded), against).verdict == "pass"
    judgement = judge(case, Outcome(cut), against)
    assert judgement.verdict == "fail"
    assert "100% of results err towards zero" in judgement.reason
