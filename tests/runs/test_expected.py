"""Failures that are expected: `xfail`, told by lines that must say something true."""

from types import SimpleNamespace

import pytest
from msgspec.structs import replace

import rnnparity
from rnnparity.errors import UsageError
from rnnparity.problems.presets import preset
from rnnparity.records import files
from rnnparity.runs.expected import of_peers, read_expected
from rnnparity.verdicts import Verdict

WRONG_RELU = """
import numpy as np

framework = "numpy"
gradients = False


def layer(x, h0, cell, nonlinearity):
    h, output = h0, []
    for x_t in x:
        a = x_t @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh
        h = np.tanh(a) if nonlinearity == "tanh" else np.maximum(a, 0) * a.dtype.type(1.01)
        output.append(h)
    return np.stack(output), h
"""
CASES = [
    case
    for case in preset("quick")
    if case.dtype == "float32" and case.regime == "torch-init" and case.config.num_cells == 1
][:12]


def _run(folder, *lines, source=WRONG_RELU):
    (folder / "mine.py").write_text(source)
    (folder / "list.txt").write_text("\n".join(lines))
    return rnnparity.check(
        folder / "mine.py",
        cases=CASES,
        device="cpu",
        xfail=folder / "list.txt" if lines else None,
        out=folder / f"run{len(lines)}",
    )


def test_what_fails_as_a_line_says_is_no_failure(tmp_path):
    bare = _run(tmp_path)
    wrong = [r.id for r in bare.records if r.verdict == Verdict.FAIL]
    assert wrong
    assert len(wrong) < len(bare.records)
    assert not bare.passed
    run = _run(tmp_path, "# known", "mine-cpu-*-relu-*: relu is larger  # a remark")
    assert run.passed
    assert [r.id for r in run.records if r.verdict == Verdict.XFAIL] == wrong
    (record, *_) = (r for r in run.records if r.verdict == Verdict.XFAIL)
    assert record.reason.startswith("relu is larger (fail: ")
    assert record.quantities["output"].z > 10
    assert "outdated" not in run.environment


def test_another_failure_stays_one(tmp_path):
    run = _run(tmp_path, "mine-cpu-*-unbatched-*: other cases than those that fail", "", "")
    assert any(r.verdict == Verdict.FAIL for r in run.records)


def _resumed(run, xfail=None):
    return rnnparity.check(
        run.directory.parent / "mine.py",
        cases=CASES,
        device="cpu",
        xfail=xfail,
        out=run.directory,
        resume=True,
    )


def _bare(run):
    """What a run found, seconds included, without what a list says of it."""
    records = sorted(run.records, key=lambda record: record.id)
    own = [record.own or (record.verdict, record.reason) for record in records]
    return own, [replace(r, verdict=Verdict.PASS, reason="", own=None) for r in records]


def _list(folder, *lines):
    (folder / "other.txt").write_text("\n".join(lines))
    return folder / "other.txt"


def test_a_resumed_run_goes_by_the_list_that_is_given_now(tmp_path):
    """Whatever list came before, and nothing runs again: the seconds are those of the first run."""
    first = _run(tmp_path, "mine-cpu-*-relu-*: relu is larger (fail: by much) (error: x)")
    assert first.passed
    for lines, reasons in [
        (["float32-*-relu-*: another reason"], {"another reason"}),
        (["mine-*-unbatched-*: no failure"], set()),
        ([], set()),
        (["mine-cpu-*-relu-*: again"], {"again"}),
    ]:
        run = _resumed(first, _list(tmp_path, *lines))
        assert _bare(run) == _bare(first)
        expected = [r for r in run.records if r.verdict == Verdict.XFAIL]
        assert {r.reason.partition(" (")[0] for r in expected} == reasons
        assert run.passed == bool(reasons)
        assert [*files.read(run.directory)] == run.records
        wrong = {r.reason for r in run.records if r.verdict == Verdict.FAIL}
        assert bool(wrong) != bool(reasons)
        assert not any("larger" in reason for reason in wrong)


def test_a_resumed_run_goes_by_its_own_list_if_none_is_given(tmp_path):
    """Of what is checked only now, too."""
    first = _run(tmp_path, "mine-cpu-*-relu-*: relu is larger")
    path = first.directory / files.RECORDS
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if b'"xfail"' not in line))
    run = _resumed(first)
    assert run.passed
    assert {r.verdict for r in run.records} == {Verdict.PASS, Verdict.XFAIL}
    assert _resumed(run).records == run.records
    run = _resumed(run, _list(tmp_path, "# none"))
    assert not run.passed
    assert not _resumed(run).passed


def test_what_broke_as_a_list_said_is_tried_again_without_it(tmp_path):
    """As all that broke is; and as long as it is expected, it is not."""
    source = WRONG_RELU.replace("h, output = h0, []", "h, output = h0, []; broken(nonlinearity)")
    source += """
def broken(nonlinearity):
    from pathlib import Path
    if nonlinearity == "relu" and not Path(__file__).with_name("mended").exists():
        raise RuntimeError("broken")
"""
    first = _run(tmp_path, "mine-cpu-*-relu-*: breaks", source=source)
    assert first.passed
    (tmp_path / "mended").touch()
    assert _bare(_resumed(first)) == _bare(first)
    run = _resumed(first, _list(tmp_path, "# none"))
    assert {r.verdict for r in run.records} == {Verdict.PASS, Verdict.FAIL}


def test_a_line_of_what_passes_is_told(tmp_path):
    lines = [
        "mine-cpu-*-relu-*: relu is larger",
        "mine-cpu-*-nobias-*: was so once",
        "no-such-*: x",
    ]
    run = _run(tmp_path, *lines)
    assert run.environment["outdated"] == ["mine-cpu-*-nobias-*"]


def test_the_id_of_a_case_alone_will_do(tmp_path):
    run = _run(tmp_path, "float32-*-relu-*: relu is larger", "mine-*-nothing-of-this-name: x", "")
    assert run.passed
    assert run.environment["unmatched"] == ["mine-*-nothing-of-this-name"]


@pytest.mark.parametrize("line", ["mine-*", "mine-*:", "mine-*: ", "mine-*:reason"])
def test_a_line_without_a_reason_is_refused(tmp_path, line):
    path = tmp_path / "list.txt"
    path.write_text(f"# first\n{line}\n")
    with pytest.raises(UsageError, match="line 2: expected `id pattern: reason`"):
        read_expected(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_expected(tmp_path / "none.txt")


def test_what_is_known_of_the_peers_can_be_read():
    found = of_peers()
    assert all(one.of_peers and one.reason for one in found)

    def is_known(name, regime):
        case = f"float32-{regime}-T12-B4-I8-H16"
        record = SimpleNamespace(implementation=name, id=f"{name}-cpu-{case}", case=case)
        return any(one.is_of(record) for one in found)

    assert is_known("onnxruntime-rnn", "tiny")
    assert not is_known("onnxruntime-rnn (gru)", "tiny")
    assert not is_known("onnxruntime-rnn", "torch-init")
