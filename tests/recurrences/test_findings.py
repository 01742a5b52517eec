"""What docs/findings says of other libraries on a CPU is still so.

Where a release mends one of these, its page, and what the peer declares, have to follow.
"""

from pathlib import Path

import pytest
from conftest import evaluate
from typer.testing import CliRunner

from rnnparity.cells.config import RNNConfig
from rnnparity.cli import app, findings
from rnnparity.problems.cases import Case

CORPUS = findings.corpus()

NNX_GRU = """
from flax import nnx
kind, framework = "gru", "jax"
def prepare(cell):
    weight_ih, weight_hh, bias_ih, bias_hh = cell
    H = weight_hh.shape[1]
    return weight_ih.T, weight_hh.T, bias_ih + bias_hh.at[2 * H :].set(0)
def layer(x, h0, cell):
    module = nnx.GRUCell(x.shape[2], h0.shape[1], param_dtype=x.dtype, rngs=nnx.Rngs(0))
    module.dense_i.kernel, module.dense_h.kernel, module.dense_i.bias = map(nnx.Param, cell)
    h_n, output = nnx.RNN(module, time_major=True, return_carry=True)(x, initial_carry=h0)
    return output, h_n
"""

IN_FLOAT64 = "from recurrences.peers.{} import *; dtypes = ('float64',)"


@pytest.mark.parametrize(
    ("peer", "text", "kind", "changed", "said"),
    [
        ("onnxruntime_whole:rnn", None, "rnn", {"regime": "tiny"}, "tanh loses digits near zero"),
        ("flax_gru", NNX_GRU, "gru", {}, "the candidate's part of bias_hh dropped"),
        ("keras_gru", IN_FLOAT64, "gru", {"dtype": "float64"}, "e+08 units of rounding"),
        ("keras_lstm", IN_FLOAT64, "lstm", {"dtype": "float64"}, "e+08 units of rounding"),
    ],
    ids=["ONNX Runtime's RNN", "nnx.GRUCell", "Keras's GRU", "Keras's LSTM"],
)
@pytest.mark.filterwarnings("ignore")  # what a library warns about is its own
def test_it_fails_as_the_page_says(tmp_path, peer, text, kind, changed, said):
    """Given is the peer itself, or a file that does what the peer avoids."""
    name = f"recurrences.peers.{peer}"
    pytest.importorskip(name.partition(":")[0])
    if text is not None:
        path = tmp_path / "found.py"
        path.write_text(text.replace("{}", peer))
        name = str(path)
    config = RNNConfig(input_size=8, hidden_size=16, kind=kind)
    judgement = evaluate(name, "cpu", Case(config=config, T=12, B=4).replace(**changed))
    assert judgement.verdict == "fail"
    assert said in judgement.reason


@pytest.mark.parametrize("finding", CORPUS, ids=lambda finding: finding.name)
def test_it_is_now_as_it_is_recorded(finding):
    now = findings.again(finding)
    if now.state == "absent":
        pytest.skip(now.output.strip())
    told = f"{finding.name} is recorded as {finding.state} with {finding.recorded}"
    assert now.state == finding.state, f"{told}; now, with {now.versions}:\n{now.output}"


def _planted(folder, script, together="numpy 1.0"):
    (folder / "planted").mkdir()
    head = f"# Planted\n\n- with: {together}\n- state: present\n- upstream: none known\n\nText.\n"
    (folder / "planted" / "README.md").write_text(head)
    (folder / "planted" / "script.py").write_text(script)
    (finding,) = findings.corpus(folder)
    return finding


@pytest.mark.parametrize(
    ("script", "state"),
    [
        ("print('present')", "present"),
        ("print('fixed')", "fixed"),  # an upgrade mended it
        ("print('absent')", "absent"),
        ("print('present'); raise ValueError", "error"),
        ("print('present'); import os; os.abort()", "error"),
        ("print('present, I think')", "error"),
        ("", "error"),
    ],
)
def test_what_a_script_says(tmp_path, script, state, monkeypatch):
    finding = _planted(tmp_path, script)
    assert findings.again(finding).state == state
    monkeypatch.setattr(findings, "corpus", lambda: [finding])
    done = CliRunner().invoke(app, ["findings"])
    assert done.output.split()[:3] == ["planted", "present", state]
    assert done.exit_code == (state not in ("present", "absent"))


def test_what_is_not_installed_is_absent(tmp_path):
    now = findings.again(_planted(tmp_path, "print('present')", "numpy 1.0, no-such-package 2"))
    assert now.state == "absent"
    assert now.output == "no-such-package is not installed"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["openvin"], "no finding 'openvin'"),
        (["--python", "no/python"], "python is no/python: No"),
        (["--python", "true"], "python is true: expected an interpreter"),
    ],
)
def test_a_wrong_name_or_interpreter_is_told(arguments, said):
    done = CliRunner().invoke(app, ["findings", *arguments])
    assert said in str(done.exception)


def test_a_page_without_its_first_lines_is_told(tmp_path):
    finding = _planted(tmp_path, "")
    page = finding.script.with_name("README.md")
    page.write_text(page.read_text().replace("present", "perhaps"))
    with pytest.raises(ValueError, match="expected a title, with, state and upstream"):
        findings.corpus(tmp_path)


def test_the_overview_has_all_of_them():
    page = (Path(__file__).parents[2] / "docs" / "findings.md").read_text(encoding="utf-8")
    wanted = "\n".join(findings.lines(CORPUS))
    assert wanted in page, f"docs/findings.md should have\n{wanted}"
    assert len(CORPUS) == page.count("(findings/")


@pytest.mark.parametrize("finding", CORPUS, ids=lambda finding: finding.name)
def test_a_script_can_be_read_at_a_glance(finding):
    assert len(finding.script.read_text(encoding="utf-8").splitlines()) <= 40
