"""Reports of a run of several kinds of layers: what is of one kind is told as its own."""

import re
from xml.etree import ElementTree

import msgspec
import pytest
from rich.console import Console
from test_report import folder, record, timing

from rnnparity.records.run import read as read_run
from rnnparity.report import charts, commands, junit, markdown, summary, terminal


def of_kind(kind, name, make=record, i=0, **more):
    """A record or a timing of a kind, as a run of all kinds makes it."""
    plain = make(i, name) if make is record else make(name)
    config = msgspec.structs.replace(plain.definition.config, kind=kind)
    case = plain.definition.replace(config=config)
    told = {"implementation": name if kind == "rnn" else f"{name} ({kind})"}
    told |= {"definition": case, "case": case.id}
    told |= {"cell": kind} if make is record else {"baseline": f"torch-rnn ({kind})"}
    return msgspec.structs.replace(plain, **told | more)


NAMES = ("onnxruntime-rnn", "torch-rnn")


@pytest.fixture
def run(tmp_path):
    """Of three kinds; records come in as they are made, and one of the GRU's fails."""
    quantity = record().quantities["output"]
    quantities = {name: quantity for name in ("output", "h_n", "grad_x", "grad_h0")}
    of_lstm = quantities | {"c_n": quantity, "grad_c0": quantity, "grad_weight_hh_l0": quantity}
    made = [
        of_kind(kind, name, i=i, quantities=of_lstm if kind == "lstm" else quantities)
        for i in range(2)
        for name in NAMES
        for kind in ("lstm", "rnn", "gru")
    ]
    made += [of_kind("lstm", NAMES[0], i=2, verdict="unsupported", reason="declares float32")]
    made += [of_kind("gru", NAMES[0], i=2, verdict="fail", reason="off by 30 units")]
    timed = [
        of_kind(kind, name, timing, median=median, ratio=ratio)
        for kind in ("gru", "lstm")
        for name, median, ratio in (("torch-rnn", 2e-3, 1.0), (NAMES[0], 1e-3, 2.0))
    ]
    return read_run(folder(tmp_path / "run", made, timed))


def shown(run):
    console = Console(width=80, highlight=False, markup=False)
    with console.capture() as capture:
        terminal.show(run, console)
    return capture.get()


def test_each_kind_has_its_own_table(run):
    text = shown(run)
    titles = [line.split(":")[0] for line in text.splitlines() if "largest error" in line]
    assert titles == ["cpu", "GRU, cpu", "LSTM, cpu"]
    for column in ("nn.RNN", "nn.GRU", "nn.LSTM"):
        assert len(re.findall(rf"(?<!torch\.){column} ", text)) == 1
    assert "onnxruntime-rnn (gru) fail: off by 30 units" in text
    text = " ".join(text.split())
    assert text.count("speed-up over torch.nn.GRU") == 1
    assert text.count("speed-up over torch.nn.LSTM") == 1


def test_the_longest_name_and_every_column_fit_into_a_terminal(run):
    assert "…" not in shown(run)


def test_the_matrix_is_kind_by_kind(run):
    """And the sentence counts what fails, and names its kind."""
    _, rows = summary.matrix(run)
    assert [*rows] == [
        *NAMES,
        *(f"{name} (gru)" for name in NAMES),
        *(f"{name} (lstm)" for name in NAMES),
    ]
    assert summary.sentence(run).startswith("onnxruntime-rnn (gru) does not compute")
    assert "5 of 6 implementations do" in summary.sentence(run)


def test_closest_is_over_the_cases_of_a_kind(run):
    """No case is common to two kinds."""
    rows = summary.closest(run)
    assert [(row["cell"], row["cases"]) for row in rows] == [
        *(("rnn", 2), ("rnn", 2), ("gru", 2), ("lstm", 2), ("lstm", 2))
    ]


def test_a_command_repeats_the_kind(run):
    case = of_kind("gru", NAMES[0])
    assert commands.command(case, run) == (
        f"rnnparity check onnxruntime-rnn --cell gru --device cpu --case {case.case}"
    )
    timed = next(t for t in run.timings if t.cell == "lstm")
    assert commands.bench_command(timed, run) == (
        "rnnparity bench torch-rnn --preset quick --cell lstm --device cpu"
    )
    broken = of_kind("gru", "jax-scan", definition=None, case="")
    assert commands.command(broken, run) == "rnnparity check jax-scan --cell gru"


def test_markdown_and_junit_keep_kinds_apart(run):
    text = markdown.render(run)
    assert text.count("## Speed-up over torch.nn.GRU") == 1
    assert text.count("## Speed-up over torch.nn.LSTM") == 1
    suites = ElementTree.fromstring(junit.render(run))
    assert len({suite.get("name") for suite in suites}) == 6
    (failing,) = [suite for suite in suites if suite.get("failures") != "0"]
    assert failing.get("name") == "onnxruntime-rnn (gru) cpu"


def test_a_size_of_two_kinds_is_two_places(run):
    rows = charts.charts(run)["ratios"]["data"]["values"]
    assert {row["size"] for row in rows} == {"12,4,8,16 GRU", "12,4,8,16 LSTM"}


def test_a_legend_of_times_has_what_was_timed(run):
    made = charts.charts(run)
    text = {name: str(spec) for name, spec in made.items()}
    assert "'values': ['torch-rnn (gru)', 'onnxruntime-rnn (gru) (fails)'" in text["widths"]
    assert "'values': ['onnxruntime-rnn', 'torch-rnn'" in text["drift"]
