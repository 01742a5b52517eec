"""The self-test draws what it says, counts right, and fails what it should."""

import itertools
import math
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import reference_of

from rnnparity.cells.config import KINDS, RNNConfig, parameter_shapes
from rnnparity.implementations import registry
from rnnparity.implementations.settings import Settings
from rnnparity.judging.verdict import Judgement
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import NAMES
from rnnparity.problems.regimes import STRUCTURED
from rnnparity.runs.processes import Worker
from rnnparity.selftest import drawing, findings, tables, verdict
from rnnparity.selftest.drawing import Plan
from rnnparity.selftest.findings import EXTREME, Failure, Found, JudgedRun, runs_of
from rnnparity.selftest.right_ways import WAYS
from rnnparity.selftest.sensitivity import check_mistakes
from rnnparity.selftest.soundness import check_group
from rnnparity.verdicts import Verdict


def _run(who="a way", *, case="case", rms=0.3, z=2.0, part="forward", **changes):
    given = {"kind": "rnn", "dtype": "float32", "hidden_size": 8, "structured": False}
    given |= {"judged": True}
    given |= {"rejected": False, "quantity": "output"} | changes
    return JudgedRun(who=who, case=case, z=z, rms=rms, part=part, **given)


@pytest.mark.parametrize("kind", KINDS)
def test_every_dtype_is_drawn_equally_and_two_fifths_are_structured(kind):
    groups = list(drawing.draw_shapes(0, 16, kind))
    cases = list(itertools.chain.from_iterable(groups))
    assert len(cases) == 16 * drawing.DRAWS
    for dtype in NAMES:
        of_dtype = [case for case in cases if case.dtype == dtype]
        assert len(of_dtype) == len(cases) / 4
        structured = [case for case in of_dtype if case.regime in STRUCTURED]
        assert len(structured) >= len(of_dtype) * 2 / 5
    for group in groups:
        assert len({(case.config, case.T, case.B, case.dtype) for case in group}) == 1
        assert group[0].config.kind == kind


def test_the_same_seed_draws_the_same_cases_and_another_kind_others():
    first, again, other, gru, lstm = (
        [(case.T, case.B, case.seed) for group in drawing.draw_shapes(*of) for case in group]
        for of in ((3, 4), (3, 4), (4, 4), (3, 4, "gru"), (3, 4, "lstm"))
    )
    assert first == again
    assert len({*map(tuple, (first, other, gru, lstm))}) == 4


@pytest.mark.parametrize(("kind", "least"), [("rnn", 10_000), ("gru", 5_000), ("lstm", 5_000)])
def test_a_full_self_test_has_enough_runs_of_every_kind(kind, least):
    """Those of the ways alone, forward and backward; implementations, which may lack, add to it."""
    cases = [case for group in drawing.plans(True, 0)[kind].groups for case in group]
    assert 2 * sum(way.applies(case) for case in cases for way in WAYS) >= least


@pytest.mark.parametrize("kind", KINDS)
def test_a_short_self_test_has_some_of_every_kind_and_dtype(kind):
    plan = drawing.plans(False, 0)[kind]
    for cases in (itertools.chain.from_iterable(plan.groups), plan.mistakes):
        drawn = list(cases)
        assert {case.config.kind for case in drawn} == {kind}
        assert {case.dtype for case in drawn} == set(NAMES)
    known = {case for group in plan.groups for case in group}
    assert known & set(plan.mistakes)


def test_no_array_is_so_large_that_a_few_fill_the_memory(monkeypatch):
    """Among these there is one, if nothing bounds it."""

    def largest():
        return max(
            sum(math.prod(shape) for shape in parameter_shapes(case.config).values())
            for case, *_ in drawing.draw_shapes(7, 47)
        )

    assert largest() <= drawing.ELEMENTS
    monkeypatch.setattr(drawing, "ELEMENTS", math.inf)
    assert largest() > 1e7


def _found(**changes):
    found = Found(runs=[_run(case=str(k)) for k in range(20)])
    found.observable["rnn", "a mistake"] = 1
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def test_it_passes_where_nothing_is_found():
    assert _found().passed


@pytest.mark.parametrize("what", ["rejected", "survived", "undiagnosed"])
def test_it_fails_for_one_failure(what):
    assert not _found(**{what: [Failure("who", "case", "reason")]}).passed


def test_it_fails_where_nothing_was_judged_or_no_mistake_could_be_seen():
    assert not _found(runs=[]).passed
    assert not _found(observable={}).passed


def test_a_unit_that_is_too_wide_fails_in_the_range_where_it_is():
    wide = [_run(case=str(k), rms=0.05, dtype="bfloat16", hidden_size=300) for k in range(20)]
    found = _found(runs=_found().runs + wide)
    assert not found.passed
    (where,) = found.too_wide()
    assert where.startswith("rnn, bfloat16, H from 257")
    assert "unit too wide: rnn, bfloat16" in tables.summary(found)


def test_a_unit_that_is_right_of_one_kind_does_not_hide_another_s():
    wide = [_run(case=str(k), rms=0.05, kind="lstm") for k in range(20)]
    (where,) = _found(runs=_found().runs * 50 + wide).too_wide()
    assert where.startswith("lstm, float32")


def test_a_few_calm_cases_do_not_make_a_unit_too_wide():
    assert _found(runs=[_run(case=str(k % 4), rms=0.05) for k in range(20)]).passed


def test_a_tanh_at_its_bound_does_not_hide_a_unit_that_is_too_wide():
    (extreme, *_) = sorted(EXTREME)
    runs = [_run(case=str(k), rms=0.05) for k in range(20)]
    found = _found(runs=[*runs, *(_run(extreme, case=str(k), rms=2.0) for k in range(20))])
    assert found.too_wide()


def test_what_is_exact_says_nothing_of_the_unit():
    exact = [_run(case=str(k), rms=0.0) for k in range(200)]
    assert _found(runs=exact + [_run(case=str(k)) for k in range(20)]).passed
    assert math.isnan(findings.rms(exact, "forward"))


def test_a_judgement_becomes_two_runs_and_a_failure_belongs_to_the_pass_that_failed():
    case = Case(config=RNNConfig(input_size=2, hidden_size=4), T=3, B=2)
    against = reference_of(case)
    from rnnparity.implementations.outcome import Outcome
    from rnnparity.judging.verdict import judge

    arrays = {name: value.astype("float32") for name, value in against.true.values.items()}
    forward, gradients = runs_of("x", case, judge(case, Outcome(arrays), against))
    assert (forward.part, forward.judged, forward.rejected) == ("forward", True, False)
    assert not gradients.rejected
    arrays["grad_x"] = arrays["grad_x"] + arrays["grad_x"].dtype.type(1)
    forward, gradients = runs_of("x", case, judge(case, Outcome(arrays), against))
    assert (forward.rejected, gradients.rejected) == (False, True)
    assert (gradients.quantity, gradients.z > 10) == ("grad_x", True)
    assert runs_of("x", case, Judgement(Verdict.UNSUPPORTED, "no such dtype", {})) == []


def test_ways_are_judged_in_a_process_whose_loss_is_a_failure(tmp_path):
    case = Case(config=RNNConfig(input_size=2, hidden_size=4), T=3, B=2)
    ways, found, done = Worker(Settings(), tmp_path / "log"), Found(), []
    with ThreadPoolExecutor(1) as pool:
        try:
            check_group([case], {}, ways, pool, 300, found, lambda: done.append(case))
        finally:
            ways.close()
        assert len(found.runs) > 40
        assert (found.rejected, done) == ([], [case])
        check_group([case], {}, ways, pool, 300, found, lambda: done.append(case))
    assert found.rejected == [Failure("the right ways", case.id, "was stopped")]


def test_the_report_counts_by_dtype_and_names_the_nearest():
    found = _found()
    found.runs.append(_run("another", z=9.5, rms=None, part="gradients", structured=True))
    found.runs.append(_run("a third", z=0.0, rms=None, judged=False, dtype="float16"))
    text = tables.summary(found)
    assert "21 judged runs" in text
    assert "1 more were chaotic" in text
    assert "rnn float32: 21 judged (1 structured), 0 rejected, 0 chaotic; z: rms 0.30" in text
    assert text.index("9.50 output of another") < text.index("2.00 output of a way")
    assert "| rnn | float32 | 5 to 16 | 21 | 21 | 0 | 0 | 0.30 |" in tables.z_table(found)
    assert "| rnn | another | itself | 1 | 9.50 |" in tables.ways_table(found)
    assert math.isnan(findings.rms(found.runs, "gradients"))


def test_the_report_tells_kinds_apart():
    """Also mistakes that two kinds have under one name."""
    found = _found()
    found.runs += [_run(case="of gru", kind="gru", z=3.0), _run(case="of lstm", kind="lstm", z=4.0)]
    for kind, seen in (("rnn", 5), ("lstm", 3)):
        wrong = kind, "bias_hh dropped"
        found.observable[wrong] = found.seen[wrong, "float32"] = seen
        found.killed[wrong, "float32"] = seen - 1
    found.right["lstm", "a rule"] = [3, 4]
    found.right["rnn", "a rule"] = [1, 2]
    text = tables.summary(found)
    assert "gru float32: 1 judged" in text
    assert "lstm float32: 1 judged" in text
    assert re.search(r"lstm: 1 of \d+ mistakes seen, 3 pairs", text)
    assert "| gru | float32 | 5 to 16 | 1 | 1 |" in tables.z_table(found)
    assert "| lstm | a way | itself | 1 | 4.00 |" in tables.ways_table(found)
    matrix = tables.kill_matrix(found)
    assert "| rnn | bias_hh dropped | a port to a framework with one bias" in matrix
    (of_lstm,) = [
        line for line in matrix.splitlines() if line.startswith("| lstm | bias_hh dropped |")
    ]
    assert of_lstm.endswith("| 2/3 |")
    rules = tables.rules_tables(found)
    assert "| rule | right" in rules
    assert "| rule, lstm | right ones rejected | wrong ones accepted |" in rules
    assert "| a rule | 25% | 0% |" in rules


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_every_mistake_is_failed_and_named_in_drawn_cases(kind):
    found = Found()
    for case in drawing.plans(False, 0)[kind].mistakes[-4:]:
        check_mistakes(case, None, found)
    assert len(found.observable) >= 11
    assert {of for of, _ in found.observable} == {kind}
    assert not found.survived
    assert not found.undiagnosed
    assert all(found.killed[one] == seen for one, seen in found.seen.items())


def test_the_whole_of_one_kind(monkeypatch):
    """Its own implementations are asked, in processes that are started anew."""
    only = [spec for spec in registry.resolve_all([], kinds=("lstm",)) if "numpy-loop" in spec.name]
    asked, done = [], []

    def resolve_all(texts, kinds=("rnn",)):
        asked.extend(kinds)
        return only

    monkeypatch.setattr(registry, "resolve_all", resolve_all)
    monkeypatch.setattr(verdict, "ANEW", 1)
    config = RNNConfig(input_size=3, hidden_size=4, kind="lstm")
    case = Case(config=config, T=5, B=2)
    plan = Plan([[case], [case.replace(seed=1)]], [case])
    found = verdict.selftest({"lstm": plan}, progress=done.append)
    assert found.passed
    assert asked == ["lstm"] * 3
    assert done == ["soundness", "soundness", "sensitivity"]
    assert {run.case for run in found.runs if run.who == "numpy-loop"} == {
        case.id,
        case.replace(seed=1).id,
    }
