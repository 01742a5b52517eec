"""An implementation that does not do everything says so, and is judged on the rest."""

import pytest
from conftest import evaluate, find_device
from rich.console import Console

from rnnparity.cells.config import RNNConfig
from rnnparity.implementations import contract
from rnnparity.implementations.registry import Spec
from rnnparity.implementations.support import FEATURES
from rnnparity.problems.cases import Case
from rnnparity.report import terminal

WHOLE = """
import numpy as np
framework = "numpy"
DECLARED
def rnn(x, h0, weights, config, lengths):
    BEFORE
    if config.batch_first: x = x.swapaxes(0, 1)
    hs = []
    for k in range(config.num_layers):
        h = np.zeros((x.shape[1], config.hidden_size), x.dtype) if h0 is None else h0[k]
        out = []
        for x_t in x:
            a = x_t @ weights[f"weight_ih_l{k}"].T + h @ weights[f"weight_hh_l{k}"].T
            if config.bias: a = a + weights[f"bias_ih_l{k}"] + weights[f"bias_hh_l{k}"]
            h = np.tanh(a) if config.nonlinearity == "tanh" else np.maximum(a, 0)
            out.append(h)
        x = np.stack(out)
        hs.append(h)
    return (x.swapaxes(0, 1) if config.batch_first else x), np.stack(hs)
"""
ONE = Case(config=RNNConfig(input_size=3, hidden_size=4), T=5, B=2)


def with_config(**options):
    return ONE.replace(config=RNNConfig(input_size=3, hidden_size=4, **options))


NEEDS = {
    "layers": with_config(num_layers=2),
    "bidirectional": with_config(bidirectional=True),
    "lengths": ONE.replace(ragged=True),
    "batch_first": with_config(batch_first=True),
    "unbatched": ONE.replace(B=None),
    "without_h0": ONE.replace(h0=False),
    "without_bias": with_config(bias=False),
}


@pytest.fixture
def judged(tmp_path):
    """Return what judges the whole RNN above, with something declared or done first."""
    made = []

    def judge(case, declared="", before="pass", source=WHOLE):
        path = tmp_path / f"mine{len(made)}.py"
        made.append(path)
        path.write_text(source.replace("DECLARED", declared).replace("BEFORE", before))
        return evaluate(str(path), find_device(str(path), "cpu"), case)

    return judge


def test_every_feature_has_a_case_that_needs_it_alone():
    assert NEEDS.keys() == FEATURES.keys()
    for name, case in NEEDS.items():
        assert [other for other, needs in FEATURES.items() if needs(case)] == [name]


@pytest.mark.parametrize("name", NEEDS)
def test_what_is_not_declared_is_unsupported(judged, name):
    """Declared or not, what is wrong is not hidden: undeclared features are tried."""
    found = judged(NEEDS[name], "supports = ()")
    assert (found.verdict, found.reason) == (
        "unsupported",
        f"declares supports (); this needs {name}",
    )
    done = name not in ("bidirectional", "lengths")  # those it cannot do
    for declared in ("", f"supports = [{name!r}]"):
        assert judged(NEEDS[name], declared).verdict.is_wrong != done


@pytest.mark.parametrize("name", NEEDS)
def test_what_is_not_implemented_is_unsupported(judged, name):
    found = judged(NEEDS[name], before="raise NotImplementedError('not yet')")
    assert found.verdict == "unsupported"
    assert found.reason.startswith("NotImplementedError: not yet (mine0.py:")
    assert judged(NEEDS[name], before="raise RuntimeError('not yet')").verdict == "error"


def test_other_calls_of_a_case_ask_for_nothing_undeclared(judged):
    case = ONE.replace(invariants=True, one_more_step=True)
    for declared, before in (
        ("supports = ()", "assert h0 is not None"),
        ("", "if h0 is None: raise NotImplementedError"),
    ):
        assert judged(case, declared, before).verdict == "pass"
    without = case.replace(h0=False)
    before = "if h0 is not None: raise NotImplementedError"
    assert judged(without, before=before).verdict == "pass"
    wrong = (
        before + "\n    config = __import__('msgspec').structs.replace(config, nonlinearity='relu')"
    )
    assert judged(without, before=wrong).verdict == "fail"


@pytest.mark.parametrize(
    "declared", ["'layers'", "('layer',)", "('layers', 'gpu')", "3", "{'layers': 1}"]
)
def test_unknown_names_are_refused_in_one_line(tmp_path, declared):
    path = tmp_path / "mine.py"
    path.write_text(WHOLE.replace("DECLARED", f"supports = {declared}").replace("BEFORE", "pass"))
    with pytest.raises(
        contract.BrokenImplementation, match=r"supports is .*without_bias"
    ) as raised:
        contract.load(Spec("mine", str(path)))
    assert "\n" not in str(raised.value)


LAYER = """
import numpy as np
framework = "numpy"
def layer(x, h0, cell, nonlinearity):
    h, output = h0, []
    for x_t in x:
        h = np.tanh(x_t @ cell[0].T + cell[2] + h @ cell[1].T + cell[3]) DECLARED
        output.append(h)
    return np.stack(output), h
def layer_backward(*arguments):
    raise NotImplementedError("no gradients yet")
"""


def test_gradients_that_are_not_implemented_leave_the_forward_pass_judged(judged):
    found = judged(ONE, source=LAYER)
    assert found.verdict == "pass"
    assert found.reason.startswith("gradients were not compared: NotImplementedError: no grad")
    assert "output" in found.quantities
    found = judged(ONE, "* 1.01", source=LAYER)
    assert found.verdict == "fail"
    assert judged(ONE, source=LAYER.replace("NotImplementedError", "ValueError")).verdict == "error"


def test_a_terminal_shows_each_reason_once(tmp_path):
    from rnnparity import check

    names = []
    for name, declared in (("a", "dtypes = ('float64',)"), ("b", "dtypes = ('float64',)")):
        path = tmp_path / f"{name}.py"
        path.write_text(WHOLE.replace("DECLARED", declared).replace("BEFORE", "pass"))
        names.append(str(path))
    chaotic = Case(
        config=RNNConfig(input_size=4, hidden_size=64),
        T=200,
        B=2,
        dtype="float64",
        regime="radius3",
    )
    run = check(*names, cases=[ONE, ONE.replace(T=6), chaotic], out=tmp_path / "run")
    console = Console(record=True, width=200)
    terminal.show(run, console)
    text = console.export_text()
    lines = [line for line in text.splitlines() if "declares dtypes" in line]
    assert lines == [f"a, b unsupported: declares dtypes float64 (case {ONE.id} and 3 more cases)"]
    (line,) = [line for line in text.splitlines() if " chaotic: " in line]
    assert "of 200 on rounding alone can reach the size of the state; right up to there" in line
