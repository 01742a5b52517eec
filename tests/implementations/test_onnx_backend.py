"""A user's ONNX runtime: one file with `run(model_bytes, inputs)`, checked as RNN, GRU and LSTM."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import evaluate

from rnnparity import UsageError
from rnnparity.cells.config import KINDS, RNNConfig
from rnnparity.implementations import contract
from rnnparity.implementations.registry import Spec, resolve_all
from rnnparity.problems.cases import Case
from rnnparity.runs import parcels

pytest.importorskip("onnx", reason="onnx is not installed")
from onnx_by_hand import WRONG

SUPPORT = Path(__file__).parents[1] / "support"
BY_HAND = """
import sys
sys.path.append({folder!r})
from onnx_by_hand import runtime
layout = {layout}
run = runtime({wrong!r})
"""


def backend(tmp_path, text, kind="rnn"):
    path = tmp_path / "mine.py"
    path.write_text(text, encoding="utf-8")
    return Spec("mine", str(path), kind=kind, onnx=True)


def case_of(kind, **changed):
    own = {name: changed.pop(name) for name in [*changed] if name in RNNConfig.__struct_fields__}
    config = RNNConfig(input_size=5, hidden_size=6, kind=kind, **own)
    return Case(**{"config": config, "T": 7, "B": 4} | changed)


RAGGED, BOTH = {"ragged": True}, {"bidirectional": True}
SHOWN = [
    ("lengths", "rnn", RAGGED),
    ("length off by one", "gru", RAGGED),
    ("past the end", "lstm", RAGGED),
    ("last step", "gru", RAGGED),
    ("reverse", "lstm", BOTH),
    ("reverse of all", "rnn", RAGGED | BOTH),
    ("turned", "gru", BOTH),
    ("first weights", "rnn", BOTH),
    ("state of the other", "lstm", BOTH),
    ("no state", "rnn", {}),
    ("states swapped", "lstm", {}),
    ("last states swapped", "lstm", {}),
    ("layout", "gru", {"batch_first": True, "T": 4}),
    ("activations", "rnn", {"nonlinearity": "relu"}),
    ("no bias", "gru", {}),
    ("bias halves", "gru", {}),
    ("reset", "gru", {}),
    ("gates", "gru", {}),
    ("gates", "lstm", {}),
    ("half", "lstm", {}),
]


def test_every_wrong_runtime_is_shown():
    assert {wrong for wrong, _, _ in SHOWN} == {*WRONG}


@pytest.mark.parametrize(("wrong", "kind", "changed"), SHOWN, ids=lambda one: str(one))
def test_a_wrong_runtime_fails_where_the_right_one_passes(tmp_path, wrong, kind, changed):
    case = case_of(kind, **changed)
    for number, (which, verdict) in enumerate((("", "pass"), (wrong, "fail"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        text = BY_HAND.format(folder=str(SUPPORT), wrong=which, layout=int(wrong == "layout"))
        judgement = evaluate(backend(folder, text, kind), "cpu", case)
        assert judgement.verdict == verdict, judgement.reason


def test_what_a_network_does_not_use_may_be_wrong(tmp_path):
    """An LSTM adds the halves of B: only a GRU tells them apart."""
    text = BY_HAND.format(folder=str(SUPPORT), wrong="bias halves", layout=0)
    assert evaluate(backend(tmp_path, text, "lstm"), "cpu", case_of("lstm")).verdict == "pass"


RAISES = "def run(model_bytes, inputs):\n    raise {}('no such operator')\n"
RETURNS = """
from onnx.reference import ReferenceEvaluator
def run(model_bytes, inputs):
    evaluator = ReferenceEvaluator(__import__("onnx").load_from_string(model_bytes))
    found = evaluator.run(None, inputs)
    names = evaluator.output_names
    return {}
"""


@pytest.mark.parametrize(
    ("text", "verdict", "reason"),
    [
        (RAISES.format("ValueError"), "error", "raises ValueError: no such operator"),
        (RAISES.format("NotImplementedError"), "unsupported", "no such operator"),
        # The words alone do not excuse it.
        (RAISES.format("RuntimeError").replace("no such", "not implemented:"), "error", "Runtime"),
        (RETURNS.format("found"), "pass", ""),
        (RETURNS.format("dict(reversed([*zip(names, found)]))"), "pass", ""),
        (RETURNS.format("found[:1]"), "fail", "run returned 1 outputs, expected output, h_n"),
        (RETURNS.format("{'output': found[0]}"), "fail", "run returned no h_n"),
        (RETURNS.format("found[0]"), "fail", "run returned a ndarray, expected output, h_n"),
        (RETURNS.format("[a.tolist() for a in found]"), "fail", "expected a numpy.ndarray"),
        (RETURNS.format("[a.astype('f8') for a in found]"), "fail", "float64, expected float32"),
        ("dtypes = ('float16',)\n" + RETURNS.format("found"), "unsupported", "dtypes float16"),
        ("supports = ()\n" + RETURNS.format("found"), "unsupported", "this needs layers"),
    ],
)
def test_what_a_run_returns_and_raises(tmp_path, text, verdict, reason):
    judgement = evaluate(backend(tmp_path, text), "cpu", case_of("rnn", num_layers=2))
    assert judgement.verdict == verdict, judgement.reason
    assert reason in judgement.reason


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "run is missing, expected a function run(model_bytes, inputs)"),
        ("run = 1", "run is a int, expected"),
        ("def run(model_bytes):\n    pass\n", "does not take (model_bytes, inputs)"),
        ("dtypes = 'float32'\ndef run(model, inputs):\n    pass\n", "dtypes is 'float32'"),
    ],
)
def test_what_is_no_runtime_is_told(tmp_path, text, told):
    with pytest.raises(contract.BrokenImplementation, match=re.escape(told)):
        contract.load(backend(tmp_path, text))


def test_a_file_travels_as_what_it_is(tmp_path):
    spec = backend(tmp_path, "def run(model_bytes, inputs):\n    pass\n", "lstm")
    packed = parcels.pack((spec,), {})
    assert str(tmp_path).encode() not in packed.data
    assert parcels.call(lambda arrived: arrived, packed.data) == spec


def test_a_sequence_without_a_batch_is_unsupported(tmp_path):
    for text in ("", "supports = ('unbatched',)\n"):
        spec = backend(tmp_path, text + RETURNS.format("found"))
        assert evaluate(spec, "cpu", case_of("rnn", B=None)).verdict == "unsupported"


def test_one_file_is_of_every_kind_that_is_asked_for(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text("kind = 'lstm'")
    one, two = (str(tmp_path / name / "mine.py") for name in ("a", "b"))
    found = resolve_all([], kinds=tuple(KINDS), backends=[one, one])
    assert [(spec.name, spec.kind) for spec in found] == [
        *(("mine", "rnn"), ("mine (gru)", "gru"), ("mine (lstm)", "lstm"))
    ]
    found = resolve_all([], kinds=("gru",), backends=[one, two])
    assert [spec.name for spec in found] == ["a/mine.py (gru)", "b/mine.py (gru)"]
    with pytest.raises(UsageError, match="as an implementation and as an ONNX runtime"):
        resolve_all([one], kinds=("lstm",), backends=[one])
    with pytest.raises(UsageError, match="expected one with run"):
        resolve_all([], backends=["numpy-loop"])


def test_the_command_line_checks_all_three(tmp_path):
    text = BY_HAND.format(folder=str(SUPPORT), wrong="bias halves", layout=0)
    (tmp_path / "mine.py").write_text(text)
    ids = [f"float32-torch-init{kind}-T12-B4-I8-H16" for kind in ("", "-gru", "-lstm")]
    command = [sys.executable, "-m", "rnnparity", "check", "--onnx-backend", "mine.py", "--json"]
    for one in ids:
        command += ["--case", one]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    records = json.loads(done.stdout)["records"]
    assert {one["implementation"]: one["verdict"] for one in records} == {
        **{"mine": "pass", "mine (gru)": "fail", "mine (lstm)": "pass"}
    }


def test_the_conformance_suite_takes_one(tmp_path):
    text = BY_HAND.format(folder=str(SUPPORT), wrong="reset", layout=0)
    (tmp_path / "mine.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs"]
    command += ["rnnparity.conformance", "--rnn-onnx-backend", "mine.py"]
    command += ["-k", "float32-torch-init and T12-B4-I8-H16 and not layers"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1, done.stdout
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert failed
    assert all("mine (gru)" in line for line in failed)
    assert "passed" in done.stdout
