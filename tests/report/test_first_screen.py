"""What a report says first, and that what fails is marked wherever it appears."""

import io
import json
import re
from xml.etree import ElementTree

import pytest
from rich.console import Console
from test_report import folder, record, timing, untimed

from rnnparity.records.run import read as read_run
from rnnparity.report import (
    charts,
    error_table,
    failing,
    first_screen,
    junit,
    markdown,
    page,
    speed_table,
    summary,
    terminal,
    times,
)


def sized(T, name, *ratio, **changes):
    """A timing at T steps; one without a ratio failed there."""
    definition = timing().definition.replace(T=T)
    told = {"case": definition.id, "definition": definition} | changes
    if not ratio:
        return untimed(timing(name, verdict="fail", reason="off by 30 units", **told))
    return timing(name, 1e-3 / ratio[0], ratio[0], **told)


def of(tmp_path, made=(), timed=(), environment=None):
    return read_run(folder(tmp_path / "run", made, timed, environment))


@pytest.fixture
def run(tmp_path):
    """`fast` is right, `wrong` fails checks and is faster, `sometimes` fails at one size."""
    made = [record(i, name) for i in range(2) for name in ("torch-rnn", "fast", "sometimes")]
    made += [record(0, "wrong"), record(1, "wrong", "fail", "equals the recurrence with a mistake")]
    timed = [sized(T, "torch-rnn", 1.0) for T in (10, 20)]
    timed += [sized(T, "torch-rnn again", 1.01, role="again") for T in (10, 20)]
    timed += [sized(10, "fast", 2.0), sized(20, "fast", 8.0)]
    timed += [sized(10, "wrong", 50.0), sized(20, "wrong", 50.0)]
    timed += [sized(10, "sometimes", 90.0), sized(20, "sometimes")]
    return of(tmp_path, made, timed, {"command": "rnnparity run", "commit": "0123456789ab"})


def test_the_three_answers(run):
    right, fastest, trust = first_screen.answers(run)
    assert right.answer == "2 of 4"
    assert "torch-rnn, fast: largest error 1.5 units (limit 10) in 4 checks" in right.lines
    assert "Not right: wrong, sometimes" in right.lines
    assert fastest.answer == "fast: 4 [3.92, 4.08]"
    (line,) = fastest.lines
    assert "fast, speed-up over torch.nn.RNN 4 [3.92, 4.08], geometric mean over 2 sizes" in line
    assert trust.answer == "Yes, times within 3.0%"
    assert "the baseline against itself is within 3.0%" in trust.lines[0]


def test_the_sentence_and_the_answer_count_alike(run):
    assert "2 of 4 implementations do" in summary.sentence(run)


@pytest.mark.parametrize(
    ("environment", "doubt"),
    [
        ({"commit": "0123456789ab+"}, "the source tree had changes"),
        ({"timing": {"warnings": ["other work was running"]}}, "other work was running"),
        ({"schema": 99}, "made by a newer version"),
    ],
    ids=["changed", "warned", "newer"],
)
def test_what_makes_numbers_doubtful_is_told_first(tmp_path, environment, doubt):
    again = timing("torch-rnn again", 2e-3, 1.0, role="again")
    timed = [timing("torch-rnn", 2e-3, 1.0), again, timing()]
    assert first_screen.answers(of(tmp_path, [record()], timed))[2].answer.startswith("Yes")
    found = read_run(folder(tmp_path / "doubtful", [record()], timed, environment))
    trust = first_screen.answers(found)[2]
    assert trust.answer == "With care"
    assert doubt in trust.lines[0]


def test_times_without_noise_are_to_be_taken_with_care(tmp_path):
    trust = first_screen.answers(of(tmp_path, [record()], [timing()]))[2]
    assert trust.answer == "With care"
    assert "the noise was not measured" in trust.lines[0]


def test_answers_where_there_is_nothing(tmp_path):
    """Of what is absent alone; and of a baseline that fails, which nothing is compared with."""
    absent = record(0, "flax", "absent", "-", definition=None, case="", quantities={})
    told = [one.answer for one in first_screen.answers(of(tmp_path, [absent]))]
    assert told == ["Nothing was checked", "Nothing was timed", "There are none"]
    failed = untimed(timing("torch-rnn", verdict="fail", reason="off"))
    found = read_run(folder(tmp_path / "failed", [record()], [failed]))
    right, fastest, _ = first_screen.answers(found)
    assert (right.answer, fastest.answer) == ("1 of 2", "Not known")


def test_nobody_is_fastest_within_the_noise(tmp_path):
    timed = [timing("torch-rnn", 1e-3, 1.0), timing(ratio=1.01)]
    again = timing("torch-rnn again", 1e-3, 1.05, role="again")
    found = of(tmp_path, [record()], [*timed, again])
    assert first_screen.answers(found)[1].answer == "No one told from torch.nn.RNN"


def test_who_is_as_fast_as_the_first_is_named(tmp_path):
    timed = [timing("torch-rnn", 1e-3, 1.0), timing("a", ratio=2.0), timing("b", ratio=1.99)]
    fastest = first_screen.answers(of(tmp_path, [record()], timed))[1]
    assert fastest.answer.startswith("a or b: 2 ")
    assert "one size; no difference told to b" in fastest.lines[0]


def test_a_mean_over_fewer_sizes_is_not_the_fastest(tmp_path):
    timed = [sized(T, name, 1.5) for T in (10, 20) for name in ("torch-rnn", "fast")]
    found = of(tmp_path, [record()], [*timed, sized(10, "partly", 99.0)])
    assert first_screen.answers(found)[1].answer.startswith("fast")
    (table,) = speed_table.tables(found)
    assert table.means["partly"].text == "99.00 of 1"


def test_no_mean_over_sizes_that_were_not_passed(run):
    (table,) = speed_table.tables(run)
    assert table.means["fast"].text == "4.00"
    assert table.means["sometimes"].text == "fails 1/2"
    assert "sometimes" not in {row["implementation"] for row in times.speed(run)}


def test_what_fails_is_marked_in_every_table_of_times(run):
    console = Console(file=io.StringIO(), width=80)
    terminal.show(run, console)
    told = console.file.getvalue()
    assert told.count("(fails)") == 2
    assert re.search(r"geometric mean +4.00 +50.00 +fails 1/2", told)
    text = markdown.render(run)
    assert "| wrong (fails) | sometimes (fails) |" in text
    assert "| fast |" in text
    html = page.render(run)
    assert html.count('<span class="fail tag">fails</span>') == 2


def test_pictures_of_right_ones_have_no_failing_one(run):
    made = charts.charts(run)
    for name in ("drift", "distribution"):
        rows = str(made[name])
        assert "'implementation': 'fast'" in rows
        assert "'implementation': 'wrong'" not in rows
        assert "'implementation': 'sometimes'" not in rows
    assert "'implementation': 'wrong'" in str(made["drift_failing"])
    assert "'implementation': 'wrong (fails)'" in str(made["ratios"])
    assert "'implementation': 'fast'" in str(made["ratios"])


def test_closest_has_no_failing_one(run):
    assert {row["implementation"] for row in summary.closest(run)} == {"torch-rnn", "fast"}


def test_failures_are_grouped_by_reason_with_a_count(tmp_path):
    one, other = "equals the recurrence with a mistake (within 0.5 units)", "crashed"
    made = [record(i, "mine", "fail", f"{one}; output[{i}] is 1, off") for i in range(5)]
    made += [record(9, "mine", "error", other), record(10, "mine")]
    made += [record(i, f"other-{i}", "fail", one) for i in range(60)]
    found = of(tmp_path, made)
    groups = {group.implementation: group for group in failing.failing(found)}
    mine = groups["mine"]
    assert (mine.failed, mine.of, mine.verdict) == (6, 7, "error")
    assert [(reason.count, reason.text) for reason in mine.reasons] == [
        (5, "equals the recurrence with a mistake (within 0.5 units)"),
        (1, "crashed"),
    ]
    for text in (markdown.render(found), page.render(found)):
        assert [n for n in groups if not re.search(rf"\b{n}\b", text)] == []
    assert summary.sentence(found).startswith("mine, other-0, other-1, other-2 and 57 more do not")
    assert page.render(found).count('<tr><th scope="row"><bdi>other-7</bdi>') == 3


def test_a_ratio_that_is_no_difference_says_so(tmp_path):
    timed = [timing("torch-rnn", 1e-3, 1.0), timing(ratio=1.01)]
    found = of(tmp_path, [record()], timed)
    for text in (markdown.render(found), page.render(found)):
        assert "1.01 (no difference told)" in text
        assert "= 1.01" not in text
    console = Console(file=io.StringIO(), width=80)
    terminal.show(found, console)
    assert "(1.01)" in console.file.getvalue()


def test_words(run):
    """One word for one thing: units, speed-up; and a limit is no count of passes."""
    html = page.render(run)
    script = html[html.rindex("<script") :]
    shown = re.sub(r"(?s)<(script|style).*?</\1>", "", html) + script
    for text in (shown, markdown.render(run), summary.sentence(run)):
        assert "10 pass" not in text
        assert "times as fast" not in text.lower()
        assert "largest z" not in text
    assert error_table.tables(run)[0].title.endswith("(limit 10)")


def test_the_header_has_command_commit_and_date(tmp_path):
    environment = {"command": "rnnparity run --out x", "commit": "0123456789ab"}
    environment |= {"rnnparity": "9.9", "started": "2026-01-02T03:04:05+00:00"}
    found = of(tmp_path, [record()], [], environment)
    for text in (page.render(found), markdown.render(found)):
        for told in (*list(environment.values())[:3], "2026-01-02 03:04:05 UTC"):
            assert told in text
    bare = read_run(folder(tmp_path / "bare", [record()]))
    assert dict(first_screen.header(bare))["commit"] == "not recorded"


def test_every_test_of_junit_has_a_time_and_properties(tmp_path):
    made = [record(0, seconds=0.25), record(1, "mine", "error", "crashed", quantities={})]
    made += [record(0, "flax", "absent", "-", definition=None, case="", quantities={})]
    failed = untimed(timing(verdict="fail", reason="results are kept"))
    root = ElementTree.fromstring(junit.render(of(tmp_path, made, [failed])))
    tests = list(root.iter("testcase"))
    assert len(tests) == 4
    for test in tests:
        float(test.get("time"))
        assert [p.get("name") for p in test.find("properties")] == ["device", "dtype", "units"]
        assert test[0].tag == "properties"  # before what came of it, as the schema wants
    assert tests[0].get("time") == "0.250000"
    assert [p.get("value") for p in tests[0].find("properties")] == ["cpu", "float32", "1.5"]
    assert root.find("testsuite").get("time") == "0.250000"


def test_a_check_records_its_seconds(tmp_path):
    import rnnparity

    case = "float32-torch-init-T12-B4-I8-H16"
    run = rnnparity.check("numpy-loop", case=case, out=tmp_path / "one")
    assert run.records[0].seconds > 0
    line = (tmp_path / "one" / "records.jsonl").read_text().splitlines()[0]
    assert json.loads(line)["seconds"] > 0
