"""The self-test draws what it says, counts right, and fails what it should."""

import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import reference_of

from rnnparity.cells.config import RNNConfig
from rnnparity.implementations.settings import Settings
from rnnparity.judging.verdict import Judgement
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import NAMES
from rnnparity.problems.regimes import STRUCTURED
from rnnparity.runs.processes import Worker
from rnnparity.selftest import drawing, findings, tables
from rnnparity.selftest.findings import EXTREME, Failure, Found, JudgedRun, runs_of
from rnnparity.selftest.soundness import check_group
from rnnparity.verdicts import Verdict


def _run(who="a way", *, case="case", rms=0.3, z=2.0, part="forward", **changes):
    given = {"dtype": "float32", "hidden_size": 8, "structured": False, "judged": True}
    given |= {"rejected": False, "quantity": "output"} | changes
    return JudgedRun(who=who, case=case, z=z, rms=rms, part=part, **given)


def test_every_dtype_is_drawn_equally_and_a_third_is_structured():
    groups = list(drawing.draw_shapes(0, 16))
    cases = list(itertools.chain.from_iterable(groups))
    assert len(cases) == 16 * drawing.DRAWS
    for dtype in NAMES:
        of_dtype = [case for case in cases if case.dtype == dtype]
        assert len(of_dtype) == len(cases) / 4
        structured = [case for case in of_dtype if case.regime in STRUCTURED]
        assert len(structured) >= len(of_dtype) / 3
    for group in groups:
        assert len({(case.config, case.T, case.B, case.dtype) for case in group}) == 1


def test_the_same_seed_draws_the_same_cases():
    first, again, other = (
        [case.id for group in drawing.draw_shapes(seed, 4) for case in group] for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def _found(**changes):
    found = Found(runs=[_run(case=str(k)) for k in range(20)])
    found.observable["a mistake"] = 1
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
    assert where.startswith("bfloat16, H from 257")
    assert "unit too wide: bfloat16" in tables.summary(found)


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
    assert "float32: 21 judged (1 structured), 0 rejected, 0 chaotic; z: rms 0.30" in text
    assert text.index("9.50 output of another") < text.index("2.00 output of a way")
    assert "| float32 | 5 to 16 | 21 | 21 | 0 | 0 | 0.30 |" in tables.z_table(found)
    assert "| another | itself | 1 | 9.50 |" in tables.ways_table(found)
    assert math.isnan(findings.rms(found.runs, "gradients"))
