"""A layer that does one thing wrong is wrong in one column; and what is written of it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rnnparity.cells.config import RNNConfig
from rnnparity.cli import findings
from rnnparity.implementations.registry import Spec, resolve
from rnnparity.implementations.settings import Settings
from rnnparity.judging.difference import Difference
from rnnparity.problems.cases import Case
from rnnparity.records.check import Record
from rnnparity.scoreboard import scripts, trying, writing
from rnnparity.scoreboard.board import Board, Cell, Row, State
from rnnparity.scoreboard.capabilities import CAPABILITIES, Trial, of_kind
from rnnparity.scoreboard.deciding import Tried, decide
from rnnparity.scoreboard.known import KNOWN
from rnnparity.scoreboard.shrinking import smallest
from rnnparity.verdicts import Verdict

pytest.importorskip("onnx", reason="onnx is not installed")

SUPPORT = Path(__file__).parents[1] / "support"
COMMITTED = Path(__file__).parents[2] / "docs" / "scoreboard"
BY_HAND = """
import sys
sys.path.append({folder!r})
from onnx_by_hand import runtime
layout = {layout}
run = runtime({wrong!r})
"""

# By what is wrong with a runtime, the kind that it is tried as, and the column that it is wrong in.
ONE_COLUMN = {
    "lengths": ("rnn", "lengths"),
    "reverse of all": ("lstm", "lengths"),
    "reverse": ("gru", "reverse"),
    "turned": ("rnn", "reverse"),
    "first weights": ("lstm", "reverse"),
    "state of the other": ("rnn", "initial state"),
    "no state": ("gru", "initial state"),
    "states swapped": ("lstm", "initial state"),
    "layout": ("rnn", "batch first"),
    "activations": ("rnn", "relu"),
    "no bias": ("lstm", "bias"),
    "bias halves": ("gru", "bias"),
    "reset": ("gru", "plain"),
}


def row_of(tmp_path, wrong, kind):
    path = tmp_path / "mine.py"
    text = BY_HAND.format(folder=str(SUPPORT), wrong=wrong, layout=int(wrong == "layout"))
    path.write_text(text, encoding="utf-8")
    spec = Spec("mine", str(path), kind=kind, onnx=True)
    (row,) = trying.rows([spec], Settings(), 60, tmp_path)
    return row


def in_state(row, state):
    return [name for name, cell in row.cells.items() if cell.state == state]


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_a_right_runtime_is_wrong_nowhere(tmp_path, kind):
    row = row_of(tmp_path, "", kind)
    assert {cell.state for cell in row.cells.values()} == {State.RIGHT, State.NOT_OFFERED}
    offered = {"unbatched", "float64", "float16", "bfloat16", "gradients"}
    assert {*in_state(row, State.NOT_OFFERED)} == offered
    assert [*row.cells] == [one.name for one in of_kind(kind)]


@pytest.mark.parametrize(("wrong", "where"), ONE_COLUMN.items(), ids=lambda one: str(one))
def test_a_wrong_runtime_is_wrong_in_one_column(tmp_path, wrong, where):
    kind, column = where
    row = row_of(tmp_path, wrong, kind)
    assert in_state(row, State.WRONG) == [column]
    assert in_state(row, State.REFUSES) == []
    cell = row.cells[column]
    assert cell.reason
    smaller = cell.smallest
    assert smaller.config.hidden_size == smaller.config.input_size == 1
    assert smaller.T <= 3


def test_there_are_as_many_columns_as_were_asked_for():
    for kind in ("rnn", "gru", "lstm"):
        assert len(of_kind(kind)) >= 16
    assert len({one.name for one in CAPABILITIES}) == len(CAPABILITIES)


CASE = Case(config=RNNConfig(input_size=5, hidden_size=6), T=7, B=4, h0=False)


def tried(verdict, needs=(), precision="float32", **z):
    quantities = {
        name: Difference(max_abs_error=1.0, max_ulp=1.0, z=value, index=(0, 0, 0))
        for name, value in z.items()
    }
    record = Record(
        implementation="mine",
        framework="numpy",
        device="cpu",
        dtype="float32",
        case=CASE.id,
        verdict=Verdict(verdict),
        reason="why",
        quantities=quantities,
        matmul_precision=precision,
    )
    return Tried(Trial(CASE, frozenset(needs)), record)


RIGHT = tried("pass", output=0.5, h_n=0.5)
WRONG = tried("fail", output=50.0, h_n=50.0)
OF_GRADIENTS = tried("fail", output=0.5, h_n=0.5, grad_x=50.0)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"plain": [WRONG], "layers": [WRONG]}, {"plain": "wrong", "layers": "hidden"}),
        ({"plain": [RIGHT], "layers": [WRONG]}, {"plain": "right", "layers": "wrong"}),
        (
            {"plain": [WRONG], "no bias": [RIGHT], "layers": [WRONG]},
            {"plain": "right", "bias": "wrong", "no bias": "right", "layers": "hidden"},
        ),
        ({"plain": [tried("error")]}, {"plain": "refuses", "gradients": "hidden"}),
        ({"plain": [OF_GRADIENTS]}, {"plain": "right", "gradients": "wrong"}),
        ({"plain": [RIGHT]}, {"gradients": "not offered", "products": "right"}),
        (
            {"plain": [tried("fail", precision="bfloat16", output=9e4)], "layers": [WRONG]},
            {"products": "wrong", "plain": "hidden", "layers": "hidden"},
        ),
        (
            {
                "plain": [RIGHT],
                "both": [WRONG],
                "lengths": [RIGHT, tried("fail", ["both"], output=9e4)],
            },
            {"both": "wrong", "lengths": "right"},
        ),
        (
            {
                "plain": [RIGHT],
                "both": [RIGHT],
                "lengths": [RIGHT, tried("fail", ["both"], output=9e4)],
            },
            {"both": "right", "lengths": "wrong"},
        ),
        (
            {"plain": [RIGHT], "initial state": [WRONG], "one more step": [tried(
                "fail", ["initial state"], output=9e4)]},
            {"initial state": "wrong", "one more step": "hidden"},
        ),
        ({"plain": [RIGHT], "layers": [tried("unsupported")]}, {"layers": "not offered"}),
        ({"plain": [RIGHT], "longer": [tried("chaotic", output=0.1)]}, {"longer": "chaotic"}),
        # All outputs are within their limit, and the case fails: what came of the same call again.
        ({"plain": [RIGHT], "calls": [tried("fail", output=0.5)]}, {"calls": "wrong"}),
    ],
)  # fmt: skip
def test_a_fault_is_told_in_its_own_column(found, expected):
    cells = decide(of_kind("rnn"), found, {})
    assert {name: cells[name].state.value for name in expected} == expected


def test_the_smallest_sizes_that_still_fail():
    config = RNNConfig(input_size=40, hidden_size=33, num_layers=3)
    case = Case(config=config, T=50, B=9, ragged=True)
    found = smallest(case, lambda one: one.T >= 11 and one.config.hidden_size >= 2)
    assert (found.T, found.B, found.config.hidden_size, found.config.input_size) == (12, 2, 2, 1)
    assert found.config.num_layers == 1
    assert found.ragged


def test_a_layer_that_crashes_on_some_cases_is_tried_on_the_others(tmp_path):
    path = tmp_path / "crashes.py"
    path.write_text(
        "import os\nfrom recurrences.elman import numpy_loop\n"
        "framework, gradients, prepare = 'numpy', False, numpy_loop.prepare\n"
        "def layer(x, h0, cell, nonlinearity):\n"
        "    if x.shape[0] > 20 or nonlinearity == 'relu' or x.dtype == 'float64':\n"
        "        os._exit(3)\n"
        "    return numpy_loop.layer(x, h0, cell, nonlinearity)\n"
    )
    (row,) = trying.rows([resolve(str(path))], Settings(), 60, tmp_path)
    assert {*in_state(row, State.REFUSES)} == {"relu", "longer", "float64"}
    assert row.cells["layers"].state == row.cells["together"].state == State.RIGHT


# Own layers that are wrong in one way: the condition, and the column that is to be blamed for it.
OWN = """
import os, sys, time
import numpy as np
from recurrences.elman import numpy_loop
framework, prepare = "numpy", numpy_loop.prepare
gradients = {gradients}
calls = [0]

def layer(x, h0, cell, nonlinearity):
    calls[0] += 1
    {forward}
    output, h_n = numpy_loop.layer(x, h0, cell, nonlinearity)
    {after}
    return output, h_n

def layer_backward(grad_output, grad_h_n, x, h0, output, cell, nonlinearity):
    {backward}
    return numpy_loop.layer_backward(grad_output, grad_h_n, x, h0, output, cell, nonlinearity)
"""
FAULTS = {
    "zeros": (("after", "output = output + 0.01 * (not h0.any())"), {"no state": "wrong"}),
    "state": (("after", "output = output + 0.01 * (calls[0] > 1)"), {"calls": "wrong"}),
    "long": (("after", "output = output + 0.01 * (len(x) > 100)"), {"longer": "wrong"}),
    "many": (("after", "output = output + 0.01 * (x.shape[1] > 32)"), {"larger batch": "wrong"}),
    "backward": (("backward", "os._exit(3)"), {"gradients": "refuses"}),
    "float64": (("after", "output = output.astype('f4').astype(x.dtype)"), {"float64": "wrong"}),
}


@pytest.mark.parametrize(("fault", "expected"), FAULTS.values(), ids=FAULTS)
def test_an_own_layer_that_is_wrong_in_one_way(tmp_path, fault, expected):
    where, line = fault
    parts = {"forward": "pass", "after": "pass", "backward": "pass", where: line}
    path = tmp_path / "mine.py"
    path.write_text(OWN.format(gradients=where == "backward", **parts))
    (row,) = trying.rows([resolve(str(path))], Settings(), 60, tmp_path)
    bad = (State.WRONG, State.REFUSES)
    assert {name: c.state.value for name, c in row.cells.items() if c.state in bad} == expected
    assert row.cells["plain"].state in (State.RIGHT, State.HIDDEN)
    assert not row.registered


def test_a_layer_that_hangs_is_waited_for_once(tmp_path):
    path = tmp_path / "mine.py"
    parts = {"forward": "time.sleep(600)", "after": "pass", "backward": "pass"}
    path.write_text(OWN.format(gradients=False, **parts))
    (row,) = trying.rows([resolve(str(path))], Settings(), 20, tmp_path)
    assert in_state(row, State.REFUSES) == ["plain"]
    assert "gave no answer in 20 s" in row.cells["plain"].reason
    assert len(in_state(row, State.HIDDEN)) == len(row.cells) - 1


def test_a_layer_of_another_dtype_is_judged_in_that(tmp_path):
    path = tmp_path / "mine.py"
    parts = {"forward": "pass", "after": "pass", "backward": "pass"}
    path.write_text(OWN.format(gradients=False, **parts) + "\ndtypes = ('float64',)\n")
    (row,) = trying.rows([resolve(str(path))], Settings(), 60, tmp_path)
    offered = {"products", "float16", "bfloat16", "gradients"}
    assert {*in_state(row, State.NOT_OFFERED)} == offered
    assert len(in_state(row, State.RIGHT)) == len(row.cells) - len(offered)


def test_what_is_not_here_is_a_row_that_says_why(tmp_path):
    path = tmp_path / "lacks.py"
    path.write_text("import not_installed_anywhere\nframework = 'numpy'\n")
    (row,) = trying.rows([resolve(str(path))], Settings(), 60, tmp_path)
    assert not row.cells
    assert "not_installed_anywhere is not installed" in row.reason


def test_a_script_needs_the_library_only_and_shows_what_is_wrong(tmp_path):
    """With lengths, `onnx`'s reference evaluator is wrong; without it is right."""
    plain = CASE.replace(T=3, B=2)
    for case, word in ((plain, "right"), (plain.replace(ragged=True), "wrong")):
        text = scripts.script("onnx-reference", case, "onnx-reference, lengths.", "Off.")
        assert "rnnparity" not in text
        path = tmp_path / "shows.py"
        path.write_text(text)
        done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == word, done.stdout
    assert scripts.script("keras-rnn", plain, "", "") == ""


def test_the_files_of_a_board_say_the_same(tmp_path):
    cells = {one.name: Cell(state=State.RIGHT) for one in of_kind("rnn")}
    cells["lengths"] = Cell(
        state=State.WRONG,
        reason="output <b>off</b>",
        z=1234.5,
        diagnosis=("padding read as input",),
        case=CASE.replace(ragged=True),
        smallest=CASE.replace(ragged=True, T=3),
    )
    rows = (
        Row(
            name="onnx-reference",
            kind="rnn",
            versions={"onnx": "1.0"},
            registered=True,
            cells=cells,
        ),
        Row(name="tract/a|b", kind="rnn", cells=cells),
        Row(name="elsewhere", kind="rnn", reason="it is not installed"),
    )
    board = writing.write(Board(environment={"rnnparity": "0.1"}, rows=rows), tmp_path)
    assert writing.read(tmp_path) == board
    told = board.rows[0].cells["lengths"]
    assert (tmp_path / "scripts" / told.script).is_file()
    assert told.findings == ("onnx-reference-sequence-lens",)
    markdown = (tmp_path / "scoreboard.md").read_text()
    line = next(one for one in markdown.splitlines() if one.startswith("| onnx-reference |"))
    assert line.count("**wrong**") == 1
    assert line.count("✓") == len(cells) - 1
    assert "| tract/a\\|b |" in markdown
    assert r"output \<b\>off\</b\>" in markdown
    assert "T=3 B=4 I=5 H=6, unequal lengths" in markdown
    assert (board.rows[1].cells["lengths"].script, board.rows[1].cells["lengths"].findings) == (
        "",
        (),
    )
    page = (tmp_path / "scoreboard.html").read_text()
    assert page.count(">wrong</a>") == 2
    assert "output &lt;b&gt;off&lt;/b&gt;" in page
    assert "it is not installed" in page
    assert f"scripts/{told.script}" in page


def test_the_command_tries_what_is_named(tmp_path):
    command = [sys.executable, "-m", "rnnparity", "scoreboard", "numpy-loop", "--cell", "gru"]
    done = subprocess.run(
        [*command, "--out", "board"], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    (row,) = json.loads((tmp_path / "board" / "scoreboard.json").read_text())["rows"]
    assert {cell["state"] for cell in row["cells"].values()} == {"right"}
    assert "numpy-loop (gru)" in done.stdout
    done = subprocess.run([*command[:-1], "elman"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_what_is_known_are_findings_and_columns():
    names = {one.name for one in findings.corpus()}
    assert {*KNOWN.values()} <= names
    assert {column for _, column in KNOWN} <= {one.name for one in CAPABILITIES}


@pytest.mark.skipif(not COMMITTED.is_dir(), reason="no clone")
def test_the_committed_board_is_whole():
    board = writing.read(COMMITTED)
    assert (COMMITTED / "scoreboard.md").read_text().splitlines() == [*writing.lines(board)]
    assert (COMMITTED / "scoreboard.html").is_file()
    assert len({row.name for row in board.rows}) >= 14
    assert {row.kind for row in board.rows} == {"rnn", "gru", "lstm"}
    names = {one.name for one in findings.corpus()}
    shown = set()
    for row in board.rows:
        assert not row.cells or [*row.cells] == [one.name for one in of_kind(row.kind)]
        for cell in row.cells.values():
            assert {*cell.findings} <= names
            shown |= {cell.script} - {""}
    assert shown == {path.name for path in COMMITTED.glob("scripts/*.py")}
