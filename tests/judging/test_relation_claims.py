"""Where a wrong result is wrong, and that nothing is claimed that the numbers do not show."""

import numpy as np
import pytest
from changed_outcomes import CASES, both, case_of, changed, every, put, replaced, said_of

from rnnparity.judging.relation.words import Axis, told

S = np.s_
ANY = ("pass", "fail", "chaotic")


def noise(size):
    drawn = np.random.default_rng(0)
    return lambda a: a + (size * drawn.standard_normal(a.shape)).astype(a.dtype)


ONLY = {
    "only in unit 3": ("plain", put("output", S[..., 3], lambda a: a[..., 3] + a.dtype.type(0.1))),
    "only in row 3 (the last)": ("plain", put("output", S[:, 3], lambda a: a[:, 3] ** 2)),
    "only at every 3rd step from 2 on": ("plain", put("output", S[2::3], lambda a: a[2::3] ** 2)),
    "only in every 2nd tile of 16 units from 16 on": (
        "wide",
        changed("output", lambda a: np.where(np.arange(64) // 16 % 2, a * a, a)),
    ),
    "only in the reverse direction": (
        "both ways",
        put("output", S[..., 16:], lambda a: a[..., 16:] ** 2),
    ),
    "only in the padding": (
        "ragged",
        replaced(
            "output",
            lambda r, a: np.where(a["output"] == 0, noise(0.1)(a["output"]), a["output"]),
        ),
    ),
    "only in the sequences shorter than T": (
        "ragged",
        replaced("output", lambda r, a: a["output"] + 0.1 * (r.true.lengths < 12)[:, None]),
    ),
    "there only from unit 8 on": (
        "gru",  # wrong in the first step in some units, and everywhere after it
        both(
            put("output", S[0, :, 8:], lambda a: a[0, :, 8:] ** 2),
            put("output", S[1:], lambda a: a[1:] ** 2),
        ),
    ),
    "grad_bias_hh_l0 off only in gate n": (
        "gru",
        put("grad_bias_hh_l0", S[32:], lambda a: a[32:] ** 2),
    ),
}


@pytest.mark.parametrize("sentence", ONLY)
def test_where_it_is_wrong_is_told_where_what_it_is_is_not_known(sentence):
    name, change = ONLY[sentence]
    reason = said_of(CASES[name], change)
    assert sentence in reason
    assert "equal" not in reason


UNRELATED = {
    "noise": changed("output", noise(0.01)),
    "little noise": changed("output", noise(1e-5)),
    "other numbers": changed("output", lambda a: noise(0.5)(0 * a)),
    "squares": changed("output", lambda a: a * a),
    "a constant more": changed("output", lambda a: a + a.dtype.type(0.01)),
    "noise in h_n": changed("h_n", noise(0.1)),
    "noise in gradients": every(noise(0.1)),
    "one element": put("output", S[3, 2, 1], 0.5),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("wrong", UNRELATED)
def test_what_has_nothing_to_do_with_the_truth_gets_no_relation(wrong, dtype):
    coarse = dtype in ("bfloat16", "float16") and "little" in wrong
    for name in ("plain", "gru", "ragged"):
        case = CASES[name].replace(dtype="float32" if coarse else dtype)
        reason = said_of(case, UNRELATED[wrong])
        assert "equal" not in reason
        assert " only " not in reason


ALIKE = {
    "rows that are alike": (
        case_of(regime="equal-rows"),
        put("output", S[:, 1], lambda a: a[:, 0] ** 2),
    ),
    "units that are alike": (
        case_of(regime="constant"),
        put("output", S[5], lambda a: np.full_like(a[5], a[3].mean())),
    ),
    "nothing but ends of tanh": (
        case_of(regime="saturated", T=3),
        changed("output", lambda a: np.where(a > 0, 1, -1).astype(a.dtype)[::-1]),
    ),
    "one unit, one row, few steps": (
        case_of(T=3, B=1, H=1, kind="gru"),
        changed("output", lambda a: a[::-1]),
    ),
    "two zeros": (case_of(), put("output", S[3, 2, :2], 0)),
}


@pytest.mark.parametrize("what", ALIKE)
def test_what_may_be_so_by_chance_is_not_claimed(what):
    """Of elements that are alike, or few, any other place would do as well."""
    assert "equal" not in said_of(*ALIKE[what])
    assert "zero" not in said_of(*ALIKE[what])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_nothing_breaks_on_what_is_no_number_or_is_not_judged(value):
    for index in (S[...], S[5:], S[:, 1], S[..., 2]):
        for name in ("output", "h_n", "grad_x", "grad_weight_hh_l0"):
            for case in ("plain", "chaotic", "ragged"):
                said_of(CASES[case], put(name, index, value), verdicts=ANY)


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_nothing_breaks_where_there_is_one_of_everything(kind):
    tiny = case_of(T=1, B=1, I=1, H=1, kind=kind)
    for name in ("output", "h_n", "grad_x", "grad_weight_hh_l0"):
        assert "equal" not in said_of(tiny, changed(name, np.negative), verdicts=ANY)


WORDS = {
    "in row 3": ([3], [0, 1, 2, 4, 5, 6, 7, 8]),
    "in row 8 (the last)": ([8], [0]),
    "from row 6 on": ([6, 7, 8], [0, 1]),
    "up to row 1": ([0, 1], [2, 8]),
    "in rows 2 to 4": ([2, 3, 4], [0, 8]),
    "in every 3rd row from 1 on": ([1, 4, 7], [0, 2, 3, 5, 6, 8]),
    "in every row but 5": ([0, 1, 2, 3, 4, 6, 7, 8], [5]),
    "in all rows but every 4th from 0 on": ([1, 2, 3, 5, 6, 7], [0, 4, 8]),
    "in rows 0 and 5": ([0, 5], [1, 2, 3, 4, 6, 7, 8]),
    "": ([0, 5], []),
    None: ([0, 1, 3, 5, 6], [2, 4, 7, 8]),
}


@pytest.mark.parametrize("words", WORDS)
def test_indices_are_told_by_a_pattern_that_holds_no_right_one(words):
    assert told(Axis("row", tuple(range(9))), *WORDS[words]) == words
