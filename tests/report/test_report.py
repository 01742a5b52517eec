"""Reports: from records alone, whatever is in them."""

import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from rich.console import Console

import rnnparity
from rnnparity.cells.config import RNNConfig
from rnnparity.judging.difference import Difference
from rnnparity.problems import presets
from rnnparity.problems.cases import Case
from rnnparity.records import files
from rnnparity.records.check import SCHEMA, Record
from rnnparity.records.run import read as read_run
from rnnparity.records.timing import Timing
from rnnparity.report import (
    charts,
    commands,
    crossover,
    failing,
    junit,
    markdown,
    page,
    summary,
    terminal,
    times,
    trend,
)

NASTY = [
    "<script>alert(1)</script>",
    "quotes \" ' ` & </script><b>",
    "long-" + "x" * 600,
    "שלום עולם",
    "a | b * c _ d [e](f)",
]


def record(i=0, implementation="numpy-loop", verdict="pass", reason="", **changes):
    config = RNNConfig(input_size=8, hidden_size=16)
    case = Case(config=config, T=12, B=4, seed=i)
    quantity = Difference(
        max_abs_error=1e-7,
        max_ulp=2.0,
        z=1.5,
        index=(0, 0, 0),
        rms_z=0.4,
        by_step=tuple(0.1 * (1 + step) for step in range(12)),
        histogram=(100, 50, 20, 5),
    )
    fields = {
        "implementation": implementation,
        "framework": "numpy",
        "device": "cpu",
        "dtype": "float32",
        "case": case.id,
        "verdict": verdict,
        "reason": reason,
        "quantities": {"output": quantity},
        "definition": case,
    }
    return Record(**fields | changes)


def timing(implementation="numpy-loop", median=1e-3, ratio=2.0, **changes):
    case = Case(config=RNNConfig(input_size=8, hidden_size=16), T=12, B=4)
    fields = {
        "implementation": implementation,
        "framework": "numpy",
        "device": "cpu",
        "dtype": "float32",
        "case": case.id,
        "mode": "forward",
        "verdict": "pass",
        "baseline": "torch-rnn",
        "seconds": ((median,) * 3,) * 2,
        "calls": (1, 1),
        "median": median,
        "ratio": ratio,
        "ratio_low": ratio * 0.98,
        "ratio_high": ratio * 1.02,
        "first_call": (0.1, 0.1),
        "prepare": (0.0, 0.0),
        "flop": 1e6,
        "bytes": 1e5,
        "steps": ((3, median / 4), (12, median)),
        "definition": case,
    }
    return Timing(**fields | changes)


def untimed(one):
    return msgspec.structs.replace(one, median=None, ratio=None, seconds=(), steps=())


def folder(path, made=(), timed=(), environment=None):
    for name, items in ((files.RECORDS, made), (files.TIMINGS, timed)):
        recorder = files.Recorder(path, name)
        for item in items:
            recorder.write(item)
        recorder.close()
    described = {
        "schema": SCHEMA,
        "preset": "quick",
        "cpu_model": "a processor",
        "best": {"product_flop_per_second": {"numpy": 1e11}, "copy_bytes_per_second": 1e10},
    }
    (path / files.ENVIRONMENT).write_text(json.dumps(described | (environment or {})))
    return path


@pytest.fixture
def run(tmp_path):
    made = [record(i) for i in range(3)]
    made += [record(0, "torch-rnn"), record(1, "mine", "fail", "equals something wrong")]
    timed = [
        timing("torch-rnn", 2e-3, 1.0),
        timing("torch-rnn again", 2e-3, 1.001, role="again"),
        timing(),
    ]
    return folder(tmp_path / "run", made, timed)


def command(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "rnnparity", *map(str, arguments)],
        capture_output=True,
        text=True,
        **options,
    )


def test_report_command_writes_every_form(run):
    done = command("report", run)
    assert done.returncode == 0, done.stderr
    assert str(run / "report.html") in done.stdout
    html = (run / "report.html").read_text()
    assert "mine does not compute the recurrence everywhere" in html
    assert "2 of 3 implementations do" in html
    assert not re.search(r"""(src|href)=["']?https?:""", html)
    text = (run / "report.md").read_text()
    for picture in re.findall(r"!\[\w+\]\((.*?)\)", text):
        assert (run / picture).read_text().startswith("<svg")
    suites = ElementTree.parse(run / "junit.xml").getroot()
    assert len(suites.findall("testsuite/testcase")) == 5
    assert suites.find("testsuite/testcase/failure").get("message") == "equals something wrong"


def test_failures_come_with_the_command_that_repeats_them(run):
    read = read_run(run)
    read.environment |= {"implementations": {"mine": "mine.py 0123"}, "settings": {"threads": 2}}
    small = record(0, "mine", "fail")
    again = (
        "rnnparity check mine.py --device cpu --case float32-torch-init-T12-B4-I8-H16 --threads 2"
    )
    assert commands.command(small, read) == again
    full = next(c for c in presets.preset("full") if c not in list(presets.preset("quick")))
    large = record(0, "mine", "fail", case=full.id, definition=full)
    assert f"--preset full --device cpu --case {full.id}" in commands.command(large, read)
    sized = timing("mine").definition.replace(T=99)
    one = record(0, "mine", "fail", case=sized.id, definition=sized)
    assert commands.command(one, read) == ""  # in no preset
    read.timings.append(timing("mine", definition=sized))
    assert commands.command(one, read).startswith("rnnparity bench mine.py --preset quick --device")


def test_what_fails_while_timed_is_told_everywhere(tmp_path):
    cached = untimed(timing(verdict="fail", reason="results are kept"))
    run = folder(tmp_path, [record()], [timing("torch-rnn", 2e-3, 1.0), cached])
    read = read_run(run)
    assert summary.sentence(read).endswith("numpy-loop failed while timed.")
    assert [one.reasons[0].full for one in failing.failing(read)] == ["results are kept"]
    assert "results are kept" in markdown.render(read)
    assert "results are kept" in page.render(read)
    (failure,) = ElementTree.fromstring(junit.render(read)).iter("failure")
    assert failure.get("message") == "results are kept"


def test_what_failed_before_it_was_timed_is_told_once(tmp_path):
    bad = record(0, "mine", "fail", "off by 30 units")
    told = {"verdict": "fail", "reason": bad.reason, "definition": bad.definition}
    read = read_run(folder(tmp_path, [bad], [untimed(timing("mine", **told))]))
    (one,) = failing.failing(read)
    assert (one.failed, one.of, len(one.reasons)) == (1, 1, 1)


def test_who_was_not_run_does_not_compute_anything(tmp_path):
    made = [record(), record(0, "keras-rnn", "unsupported", "has no such dtype")]
    assert "1 check," in summary.sentence(read_run(folder(tmp_path, made)))
    assert summary.sentence(read_run(tmp_path)).startswith("numpy-loop computes")


def test_times_without_ratios_are_shown(tmp_path):
    none = {"ratio": None, "ratio_low": None, "ratio_high": None, "baseline": ""}
    alone = msgspec.structs.replace(timing(), **none)
    html = page.render(read_run(folder(tmp_path, [record()], [alone])))
    assert "No ratios" in html
    assert 'data-table="timings"' in html


def test_closest_is_over_the_cases_that_all_passed(tmp_path):
    """Of those that fail nowhere: one that fails takes no case away from the others."""
    made = [record(0), record(1), record(0, "other"), record(1, "wrong", "fail")]
    rows = summary.closest(read_run(folder(tmp_path, made)))
    assert [(row["implementation"], row["cases"]) for row in rows] == [
        ("numpy-loop", 1),
        ("other", 1),
    ]


@pytest.mark.parametrize(
    "odd",
    [
        {"best": None},
        {"timing": None},
        {"timing": {"warnings": "one"}},
        {"frameworks": {"torch": "2.12"}},
        {"schema": "2"},
        {"preset": 5},
        {"best": {"product_flop_per_second": {"numpy": None}, "copy_bytes_per_second": "x"}},
    ],
    ids=str,
)
def test_an_environment_of_other_types(tmp_path, odd):
    read = read_run(folder(tmp_path, [record()], [timing()], odd))
    page.render(read)
    markdown.render(read)


def test_shares_of_the_machines_best(tmp_path):
    flop, moved = 2e9, 1e8
    one = msgspec.structs.replace(timing(), mode="forward", flop=flop, bytes=moved, median=0.1)
    read = read_run(folder(tmp_path, [record()], [one]))
    (row,) = times.timings(read)
    assert row["gflops"] == pytest.approx(20)
    assert row["of_product"] == pytest.approx(0.2)  # of 1e11
    assert row["of_copy"] == pytest.approx(0.1)  # of 1e10
    assert "20% / 10%" in markdown.render(read)
    elsewhere = msgspec.structs.replace(one, dtype="float64")
    assert times.achieved(elsewhere, times.roof(read))["of_product"] is None


def test_records_that_are_no_text(tmp_path):
    run = folder(tmp_path, [record()])
    with (run / files.RECORDS).open("ab") as file:
        file.write(b'{"implementation": "\xff\xfe"}\n')
    read = read_run(run)
    assert len(read.records) == 1
    assert "line 2 is not a record" in read.notes[0]
    (run / files.TIMINGS).unlink()
    (run / files.TIMINGS).mkdir()
    done = command("report", run)
    assert done.returncode == 2
    assert "cannot be read" in done.stderr


def test_the_command_repeats_one_case(tmp_path):
    case = "float32-torch-init-T12-B4-I8-H16"
    made = rnnparity.check("numpy-loop", case=case, out=tmp_path / "one")
    assert [r.case for r in made.records] == [case]


def test_reasons_that_differ_in_the_element_alone_are_one_line(tmp_path):
    one, other = "output in row 3 is zero, right elsewhere", "output in row 5 equals the truth"
    ends = (
        "output[0, 3, 1] is 0, the truth is -0.4: off by 7e+06 units of rounding; 10 are allowed",
        "output[1, 3, 2] is 0.3, the truth is 0, where there is nothing to round",
        "output[2, 3, 0] is not a finite number, the truth is",
    )
    reasons = [f"{says}; {end}" for says in (one, other) for end in ends]
    made = [record(i, verdict="fail", reason=reason) for i, reason in enumerate(reasons)]
    console = Console(file=io.StringIO(), width=200)
    terminal.show(read_run(folder(tmp_path, made)), console)
    told = console.file.getvalue()
    assert told.count("and 2 more cases") == 2
    assert one in told
    assert other in told


def test_names_and_messages_are_text(tmp_path):
    made = [record(i, name, "fail", name) for i, name in enumerate(NASTY)]
    run = folder(tmp_path, made, [timing(name) for name in NASTY])
    read = read_run(run)
    html = page.render(read)
    assert "<script>alert(1)" not in html
    assert "</script><b>" not in html
    data = re.search(r'id="data">(.*?)</script>', html)[1]
    names = {row["implementation"] for row in json.loads(data)["checks"]}
    assert names == set(NASTY)
    text = markdown.render(read)
    assert not [line for line in text.splitlines() if "<script>" in line and line[:6].strip()]
    assert "a \\| b \\* c" in text
    root = ElementTree.fromstring(junit.render(read))
    assert {c.get("message") for c in root.iter("failure")} == set(NASTY)


def test_torn_unknown_and_newer_records(tmp_path):
    run = folder(tmp_path, [record()], [timing()], {"schema": SCHEMA + 1})
    path = run / files.RECORDS
    extended = json.loads(path.read_bytes()) | {"a_field_of_tomorrow": 1}
    odd = extended | {"verdict": 7}
    lines = [json.dumps(extended), json.dumps(odd), '{"implementation": "to']
    path.write_text("\n".join(lines))
    read = read_run(run)
    assert len(read.records) == 1
    assert len(read.notes) == 3
    newer, other, torn = read.notes
    assert "made by a newer version (records of schema 2" in newer
    assert "line 2 is not a record of this version" in other
    assert "line 3 is torn" in torn
    html = page.render(read)
    assert all(note.split(":")[0] in html for note in read.notes)


def test_older_records_lack_what_is_newer(tmp_path):
    plain = msgspec.to_builtins(record())
    for name in ("rms_z", "by_step", "histogram"):
        del plain["quantities"]["output"][name]
    tmp_path.joinpath(files.RECORDS).write_text(json.dumps(plain) + "\n")
    read = read_run(tmp_path)
    assert read.notes == []
    assert "1 check," in page.render(read)


def test_no_run(tmp_path):
    done = command("report", tmp_path / "nowhere")
    assert done.returncode == 2
    assert "no folder" in done.stderr
    done = command("report", tmp_path)
    assert done.returncode == 2
    assert "give the folder of a run" in done.stderr


def test_large_report(tmp_path):
    names = [f"implementation-{i}" for i in range(10)]
    run = folder(tmp_path, [record(i, name) for i in range(500) for name in names])
    begun = time.perf_counter()
    path = page.write(read_run(run), run)
    print(f"5,000 records: {time.perf_counter() - begun:.1f} s")  # no limit: noise would break it
    assert path.stat().st_size < 10e6


def test_trend(tmp_path):
    first = {"frameworks": {"torch": {"torch": "2.12"}}}
    second = {"frameworks": {"torch": {"torch": "2.13"}}}
    a = folder(tmp_path / "a", [record(0)], [timing(ratio=2.0)], first)
    b = folder(tmp_path / "b", [record(0, verdict="fail")], [timing(ratio=1.0)], second)
    found = trend.changes([read_run(a), read_run(b)])
    assert found == [
        "torch 2.12 became 2.13",
        f"numpy-loop: pass became fail in {record(0).case}",
        "numpy-loop: speed-up over the baseline 2.00 became 1.00 (cpu, float32, forward)",
    ]
    three = trend.changes([read_run(a), read_run(b), read_run(b)])
    assert three == [f"a to b: {line}" for line in found]
    done = command("report", a, b, "--out", tmp_path / "trend")
    assert done.returncode == 0
    assert (tmp_path / "trend" / "trend.md").read_text() == done.stdout
    page_ = (tmp_path / "trend" / "trend.html").read_text()
    assert "numpy-loop: pass became fail" in page_
    specs = re.search(r'id="specs">(.*?)</script>', page_)[1]
    assert set(json.loads(specs)) == {"units", "speed-0"}
    same = command("report", a, a)
    assert "nothing changed" in same.stdout
    gone = folder(tmp_path / "c", [record(0, verdict="absent", definition=None, case="")])
    lines = command("report", a, gone).stdout
    assert "no check in common" in lines
    assert "numpy-loop is no longer checked: absent" in lines


def test_trend_is_over_the_sizes_that_all_runs_have(tmp_path):
    """Another size, on which it is ten times as fast: no change of the implementation."""
    small = timing(ratio=2.0)
    large = timing(ratio=20.0, case="float32-other", definition=small.definition.replace(T=99))
    a = folder(tmp_path / "a", [record(0)], [small])
    b = folder(tmp_path / "b", [record(0)], [small, large])
    assert "nothing changed" in command("report", a, b).stdout


def test_notebook(tmp_path, monkeypatch):
    run = rnnparity.check("numpy-loop", case="float32-torch-init-T12-B4-I8-H16", out=tmp_path)
    html = run._repr_html_()
    assert "numpy-loop computes the recurrence" in html
    assert "<svg" in html
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(rnnparity.UsageError, match="pip install pandas"):
        run.to_pandas()


def test_paid_after():
    torch_rnn = timing("torch-rnn", 2e-3, 1.0, first_call=(0.002, 0.002))
    mine = timing(median=1e-3, first_call=(0.5, 0.5))
    assert times.paid_after(mine, [torch_rnn, mine]) == 498
    assert times.paid_after(torch_rnn, [torch_rnn, mine]) is None


def test_compact_console_is_dumb_proof(run):
    environment = os.environ | {"TERM": "dumb", "NO_COLOR": "1"}
    done = command("report", Path(run), env=environment)
    assert "\x1b" not in done.stdout


def test_crossover_from_the_cpu_to_a_card(tmp_path):
    there = [
        timing("torch-loop", 1e-3),
        timing("torch-loop", 4e-3, device="cuda:0"),
        timing("torch-loop", 1e-4, device="cuda:0", mode="gradients"),  # not timed on the CPU
        timing("torch-rnn", 1e-3),
        timing("torch-rnn", 2e-4, device="cuda:0"),
        untimed(timing("numpy-loop")),
        timing("numpy-loop", device="cuda:0"),
        timing("torch-rnn again", 1e-4, device="cuda:0", role="again"),
    ]
    found = {row["implementation"]: row for row in crossover.rows(there)}
    assert {name: row["times"] for name, row in found.items()} == {
        "torch-loop": pytest.approx(0.25),
        "torch-rnn": pytest.approx(5.0),
    }
    assert found["torch-rnn"]["work"] == pytest.approx(1e6 / 12)
    both = read_run(folder(tmp_path / "both", [record()], there))
    alone = read_run(folder(tmp_path / "alone", [record()], there[:1]))
    assert "crossover" in charts.charts(both)
    assert "crossover" not in charts.charts(alone)
    assert charts.svg(charts.charts(both)["crossover"], 640).startswith("<svg")
