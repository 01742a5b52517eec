"""Several kinds of layers in one run: each implementation on the cases of its own."""

import pytest

import rnnparity
from rnnparity import UsageError, api
from rnnparity.cells.config import KINDS
from rnnparity.cli.running import exit_code
from rnnparity.implementations.registry import is_baseline, resolve_all, without_kind
from rnnparity.problems import presets
from rnnparity.records import files
from rnnparity.records.check import Record
from rnnparity.records.run import Run
from rnnparity.timing import comparison
from rnnparity.verdicts import Verdict

EVERY = tuple(KINDS)


def test_names_are_of_one_kind_each():
    specs = resolve_all([], peers=True, kinds=EVERY)
    assert len({spec.name for spec in specs}) == len(specs)
    assert [spec.kind for spec in specs] == sorted((s.kind for s in specs), key=EVERY.index)
    assert [spec.name for spec in specs if is_baseline(spec)] == [
        "torch-rnn",
        "torch-rnn (gru)",
        "torch-rnn (lstm)",
    ]
    bare = {without_kind(spec.name) for spec in specs}
    assert bare >= {spec.name for spec in specs if spec.kind == "rnn"}
    assert not any("(" in name for name in bare)
    assert without_kind("mine (2)") == "mine (2)"


def test_a_name_is_of_every_kind_that_has_it():
    found = resolve_all(["torch-compile", "numpy-loop"], kinds=EVERY)
    assert [spec.name for spec in found] == [
        *("torch-compile", "numpy-loop", "numpy-loop (gru)", "numpy-loop (lstm)")
    ]
    with pytest.raises(UsageError, match="no implementation 'torch-compile'"):
        resolve_all(["torch-compile"], kinds=("gru",))


def test_a_name_as_it_is_shown_is_of_its_kind(planned):
    plan = api.check("numpy-loop (gru)")
    assert [(spec.name, spec.kind) for spec in plan.specs] == [("numpy-loop (gru)", "gru")]
    assert kinds_of(plan.cases) == {"gru"}


def test_a_run_of_all_kinds_and_its_resumption(tmp_path):
    """Every case on what is of its kind, once; what was cut off is made again, and no more."""
    arguments = {"cell": "all", "dtype": "float64", "out": tmp_path / "run"}
    run = rnnparity.check("numpy-loop", **arguments)
    assert run.passed
    planned = {kind: {c.id for c in presets.preset("quick", kind)} for kind in EVERY}
    names = ("numpy-loop", "numpy-loop (gru)", "numpy-loop (lstm)")
    for kind, name in zip(EVERY, names, strict=True):
        own = [record for record in run.records if record.implementation == name]
        assert {record.cell for record in own} == {kind}
        assert {r.case for r in own} == {i for i in planned[kind] if i.startswith("float64")}
        # torch's own of the same kind is what each is compared with.
        assert all(r.quantities["output"].max_abs_difference_to_torch_rnn < 1e-9 for r in own)
    ids = [record.id for record in run.records]
    assert len(set(ids)) == len(ids)
    path = tmp_path / "run" / files.RECORDS
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[: len(lines) // 2]))
    assert rnnparity.check("numpy-loop", **arguments, resume=True).passed
    assert sorted(record.id for record in files.read(tmp_path / "run")) == sorted(ids)
    assert len(path.read_text().splitlines()) == len(lines)


RNN_FILE = """
import numpy as np
framework = "numpy"
def layer(x, h0, cell, nonlinearity):
    h, output = h0, []
    for x_t in x:
        a = x_t @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh
        h = np.tanh(a) if nonlinearity == "tanh" else np.maximum(a, 0)
        output.append(h)
    return np.stack(output), h
"""

GRU_FILE = """
import numpy as np
framework = "numpy"
kind = "gru"
def layer(x, h0, cell):
    h, output = h0, []
    for x_t in x:
        x_z, x_r, x_n = np.split(x_t @ cell.weight_ih.T + cell.bias_ih, 3, axis=1)
        h_z, h_r, h_n = np.split(h @ cell.weight_hh.T + cell.bias_hh, 3, axis=1)
        r, z = (np.tanh(a / 2) / 2 + 0.5 for a in (x_r + h_r, x_z + h_z))
        h = (1 - z) * np.tanh(x_n + r * h_n) + z * h
        output.append(h)
    return np.stack(output), h
"""


def test_own_files_are_each_of_their_own_kind(tmp_path):
    """With what is registered of these kinds, and no other."""
    right, wrong = tmp_path / "my_rnn.py", tmp_path / "my_gru.py"
    right.write_text(RNN_FILE)
    wrong.write_text(GRU_FILE)
    run = rnnparity.check(wrong, "numpy-loop", right, dtype="float64", out=tmp_path / "run")
    verdicts = {}
    for record in run.records:
        verdicts.setdefault((record.implementation, record.cell), set()).add(record.verdict)
    assert verdicts.keys() == {
        *(("my_rnn", "rnn"), ("numpy-loop", "rnn")),
        *(("my_gru", "gru"), ("numpy-loop (gru)", "gru")),
    }
    assert {name for (name, _), found in verdicts.items() if "fail" in found} == {"my_gru"}
    told = [record.reason for record in run.records if record.implementation == "my_gru"]
    assert any("gates in the order z r n" in reason for reason in told)


@pytest.fixture
def planned(monkeypatch):
    """What would be done."""
    monkeypatch.setattr(api, "carry_out", lambda plan, progress: plan)


def kinds_of(items):
    return {item.config.kind for item in items}


def test_the_main_job_has_all_kinds_and_times_one(planned):
    plan = api.run()
    assert kinds_of(job.case for job in plan.jobs) == {"rnn"}
    assert {spec.kind for spec in plan.specs} == {*EVERY}
    assert {c for c in plan.cases if c.config.kind == "rnn"} == {*presets.preset("quick")}
    for kind in ("gru", "lstm"):
        own = {case for case in plan.cases if case.config.kind == kind}
        assert own == {*presets.glance(kind)}
        assert own < {*presets.preset("quick", kind)}  # so that a failure can be repeated
        assert {case.dtype for case in own} == {"float32", "float64"}


@pytest.mark.parametrize(
    ("names", "more", "checked", "timed"),
    [
        (["numpy-loop"], {}, {"rnn"}, {"rnn"}),
        ([], {"cell": "rnn"}, {"rnn"}, {"rnn"}),
        ([], {"cell": "gru"}, {"gru"}, {"gru"}),
        ([], {"cell": "all"}, {*EVERY}, {*EVERY}),
        ([], {"dtype": "float16"}, {"rnn"}, {"rnn"}),  # no case of the others is in it
    ],
)
def test_what_was_asked_for_is_all_there_is(planned, names, more, checked, timed):
    plan = api.run(*names, **more)
    assert kinds_of(plan.cases) == {spec.kind for spec in plan.specs} == checked
    assert kinds_of(job.case for job in plan.jobs) == timed


def test_one_case_is_of_one_kind(planned):
    case = presets.preset("quick", "lstm")[0]
    plan = api.check(cell="all", case=case.id)
    assert plan.cases == (case,)
    assert {spec.kind for spec in plan.specs} == {"lstm"}
    assert {spec.kind for spec in api.check(cases=[case]).specs} == {"lstm"}


def test_a_timing_is_against_torchs_own_of_its_kind(tmp_path):
    arguments = {"preset": "notebook", "processes": 2, "budget": 0.02}
    run = rnnparity.bench("numpy-loop", cell="all", **arguments, out=tmp_path / "run")
    own = [one for one in run.timings if without_kind(one.implementation) == "numpy-loop"]
    assert {one.verdict for one in own} == {"pass"}
    assert {(one.cell, one.baseline) for one in own} == {
        ("rnn", "torch-rnn"),
        ("gru", "torch-rnn (gru)"),
        ("lstm", "torch-rnn (lstm)"),
    }
    compared = comparison.compare(run.timings, run.timings)
    assert len(compared) == len({change.after.id for change in compared}) == 12
    alone = [one for one in run.timings if one.cell == "gru"]
    assert comparison.others(run.timings, alone) == []  # another kind takes no turns with it
    fewer = [one for one in alone if one not in own]
    assert comparison.others(run.timings, fewer) == ["numpy-loop (gru)"]


def test_what_was_asked_for_and_is_absent_is_told_of_any_kind(tmp_path):
    absent = {"framework": "jax", "device": "", "dtype": "", "case": "", "reason": "no jax"}
    names = ("numpy-loop", "jax-scan (gru)")
    verdicts = (Verdict.PASS, Verdict.ABSENT)
    made = [
        Record(implementation=name, verdict=verdict, cell="gru", **absent)
        for name, verdict in zip(names, verdicts, strict=True)
    ]
    for name in ("jax-scan", "jax-scan (gru)"):
        with pytest.raises(UsageError, match=r"jax-scan \(gru\) was asked for and is absent"):
            exit_code(Run(tmp_path, {}, made), [name])
    assert exit_code(Run(tmp_path, {}, made), []) == 0
