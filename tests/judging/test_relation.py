"""What of the truth a wrong result equals, and where: wrong ones made of right ones."""

import numpy as np
import pytest
from changed_outcomes import (
    CASES,
    both,
    changed,
    every,
    exchanged,
    last_steps,
    put,
    replaced,
    said_of,
    shares,
    tiles,
)

S = np.s_
ELSEWHERE = "right elsewhere"
OUTPUT = {
    "output equals the truth rolled by 3 along the steps, cyclically": [
        ("plain", changed("output", lambda a: np.roll(a, 3, 0))),
        ("relu", changed("output", lambda a: np.roll(a, 3, 0))),
        ("unbatched", changed("output", lambda a: np.roll(a, 3, 0))),
        ("batch first", changed("output", lambda a: np.roll(a, 3, 0))),
        ("chaotic", changed("output", lambda a: np.roll(a, 3, 0))),
        ("gru", changed("output", lambda a: np.roll(a, 3, 0))),
        ("deep lstm", changed("output", lambda a: np.roll(a, 3, 0))),
    ],
    "output equals the truth of the step before, zero where there is none": [
        ("gru", changed("output", lambda a: np.concatenate((0 * a[:1], a[:-1])))),
    ],
    "equals the recurrence with the output one step late": [
        (
            "gru",
            replaced("output", lambda r, a: np.concatenate((r.problem.h0, a["output"][:-1]))),
        ),
    ],
    "output equals the truth with steps in reversed order": [
        ("gru", changed("output", lambda a: a[::-1])),
    ],
    f"output in row 3 (the last) equals the truth of row 0, {ELSEWHERE}": [
        ("plain", put("output", S[:, 3], lambda a: a[:, 0])),
        ("batch first", put("output", S[:, 3], lambda a: a[:, 0])),
    ],
    f"output at every 4th step from 3 on equals the truth of the step before, {ELSEWHERE}": [
        ("plain", put("output", S[3::4], lambda a: a[2::4])),
    ],
    f"output from step 256 on is zero, {ELSEWHERE}": [("long", put("output", S[256:], 0))],
    f"output from step 256 on equals the truth of 256 steps before, {ELSEWHERE}": [
        ("long", put("output", S[256:], lambda a: a[:44])),
    ],
    f"output in the padding is 0.5, {ELSEWHERE}": [
        ("ragged", replaced("output", lambda _, a: np.where(a["output"] == 0, 0.5, a["output"]))),
    ],
    "output, where wrong, is -0.5 or 0.5": [
        ("gru", replaced("output", lambda _, a: a["output"].astype(float).clip(-0.5, 0.5))),
    ],
    f"output in row 2 from step 5 on is not a number, {ELSEWHERE}": [
        ("plain", put("output", S[5:, 2], np.nan)),
    ],
    "output and h_n equal the truth with neighbouring rows exchanged": [
        ("plain", both(*[changed(n, lambda a: a[:, [1, 0, 3, 2]]) for n in ("output", "h_n")])),
    ],
    "output and h_n equal the truth with rows in another order (0 is 2, 1 is 0, 2 is 3, ...)": [
        ("gru", both(*[changed(n, lambda a: a[:, [2, 0, 3, 1]]) for n in ("output", "h_n")])),
    ],
    "output equals the truth with units 0 to 7 and 8 to 15 exchanged": [
        ("plain", changed("output", lambda a: tiles(8, a))),
    ],
    "output equals the truth with neighbouring tiles of 16 units exchanged": [
        ("wide", changed("output", lambda a: tiles(16, a))),
    ],
    f"output in units 16 to 23 is zero, {ELSEWHERE}": [("wide", put("output", S[..., 16:24], 0))],
    f"output from unit 32 on equals the truth of 32 units before, {ELSEWHERE}": [
        ("wide", put("output", S[..., 32:], lambda a: a[..., :32])),
    ],
    "output equals the truth times 2": [("plain", changed("output", lambda a: a + a))],
    "output and h_n equal the truth with its sign reversed": [
        ("gru", both(changed("output", np.negative), changed("h_n", np.negative))),
    ],
    "equals the recurrence with the output's steps and rows reshaped, not transposed": [
        ("batch first", changed("output", lambda a: a.swapaxes(0, 1).reshape(a.shape))),
        ("square", changed("output", lambda a: a.swapaxes(0, 1))),
    ],
    "output equals the truth with directions and units reshaped, not transposed": [
        (
            "both ways",
            changed(
                "output", lambda a: a.reshape(*a.shape[:2], 2, 16).swapaxes(2, 3).reshape(a.shape)
            ),
        ),
    ],
    "equals the recurrence with the reverse output left reversed": [
        ("both ways", put("output", S[..., 16:], lambda a: a[::-1, :, 16:])),
    ],
    "output equals the output of layer 1": [
        ("deep", replaced("output", lambda r, _: r.true.traces[1].output)),
    ],
    "output equals the truth's c of layer 1": [
        ("deep lstm", replaced("output", lambda r, _: r.true.traces[1].states[1])),
    ],
    "output equals the truth with each sequence in reversed order": [
        (
            "ragged",
            replaced(
                "output",
                lambda r, a: np.where(
                    (np.arange(12)[:, None] < r.true.lengths)[:, :, None],
                    a["output"][(r.true.lengths - 1 - np.arange(12)[:, None]) % 12, np.arange(6)],
                    0,
                ),
            ),
        ),
    ],
    f"output at the last step of each sequence is zero, {ELSEWHERE}": [
        (
            "ragged",
            replaced(
                "output",
                lambda r, a: np.where(
                    (np.arange(12)[:, None] == r.true.lengths - 1)[:, :, None], 0, a["output"]
                ),
            ),
        ),
    ],
}
STATES = {
    "h_n equals the output at step 10": [
        ("plain", replaced("h_n", lambda _, a: a["output"][10])),
    ],
    "h_n equals the state after step 11": [
        ("ragged", replaced("h_n", lambda r, _: r.true.traces[0].output[11])),
    ],
    "h_n equals the state one step before the last of each sequence": [
        ("ragged", replaced("h_n", lambda r, a: last_steps(r, a, 1))),
    ],
    "equals the recurrence with h_n of the reverse direction taken at the sequence's end": [
        (
            "both ways",
            replaced("h_n", lambda _, a: np.stack((a["h_n"][0], a["output"][11, :, 16:]))),
        ),
    ],
    "equals the recurrence with h_n's layers in reversed order": [
        ("deep", changed("h_n", lambda a: a[::-1])),
    ],
    "h_n equals the truth with layers and directions reshaped, not transposed": [
        (
            "deep both ways",
            changed("h_n", lambda a: a.reshape(3, 2, 4, 16).swapaxes(0, 1).reshape(a.shape)),
        ),
    ],
    f"h_n in layer 0 equals the truth of layer 2, {ELSEWHERE}": [
        ("deep", put("h_n", 0, lambda a: a[2])),
    ],
    "h_n equals c_n": [("deep lstm", replaced("h_n", lambda _, a: a["c_n"]))],
    "c_n equals h_n": [("deep lstm", replaced("c_n", lambda _, a: a["h_n"]))],
}
GRADIENTS = {
    "all gradients off; what is off equals the truth times 0.25 (1 / B)": [
        ("plain", every(lambda a: a / a.dtype.type(4))),
        ("gru", every(lambda a: a / a.dtype.type(4))),
    ],
    "what is off equals the truth times 0.08333 (1 / T)": [
        ("plain", changed("grad_weight_ih_l0", lambda a: a / a.dtype.type(12))),
    ],
    "what is off equals the truth with its sign reversed": [
        ("plain", changed("grad_x", np.negative))
    ],
    "what is off equals the truth transposed": [
        (
            "gru",
            changed(
                "grad_weight_hh_l0", lambda a: a.reshape(3, 16, 16).swapaxes(1, 2).reshape(a.shape)
            ),
        ),
    ],
    "what is off equals the truth with gates r and z exchanged": [
        (
            "gru",
            changed("grad_weight_ih_l0", lambda a: a.reshape(3, 16, 8)[[1, 0, 2]].reshape(a.shape)),
        ),
    ],
    "what is off equals the truth with gates in the order z n r": [
        (
            "gru",
            changed("grad_weight_ih_l0", lambda a: a.reshape(3, 16, 8)[[1, 2, 0]].reshape(a.shape)),
        ),
    ],
    f"what is off in gate n is zero, {ELSEWHERE}": [("gru", put("grad_weight_hh_l0", S[32:], 0))],
    "what is off equals the truth's grad_bias_ih_l0": [
        ("gru", replaced("grad_bias_hh_l0", lambda _, a: a["grad_bias_ih_l0"])),
    ],
    "grad_weight_hh_l0 equals the truth's grad_weight_hh_l1": [
        ("deep gru", exchanged("grad_weight_hh_l0", "grad_weight_hh_l1")),
    ],
    "what is off equals the sum of row 0 alone": [
        ("plain", replaced("grad_weight_ih_l0", shares("x", rows=S[:1]))),
        ("gru", replaced("grad_weight_hh_l0", shares("before", rows=S[:1]))),
    ],
    "what is off equals the sum without row 3 (the last)": [
        ("plain", replaced("grad_weight_ih_l0", shares("x", rows=S[:3]))),
    ],
    "what is off equals the sum without step 11 (the last)": [
        ("plain", replaced("grad_weight_hh_l0", shares("before", steps=S[:11]))),
        ("unbatched", replaced("grad_weight_hh_l0", shares("before", steps=S[:11]))),
    ],
    "what is off equals the sum of steps 8 to 11 alone": [
        ("plain", replaced("grad_weight_hh_l0", shares("before", steps=S[8:]))),
    ],
    "what is off equals the gradient made of the state after each step": [
        ("gru", replaced("grad_weight_hh_l0", shares("after"))),
    ],
    f"what is off at step 11 (the last) is zero, {ELSEWHERE}": [("plain", put("grad_x", S[11], 0))],
    "what is off equals that of the reverse direction alone": [
        (
            "both ways",
            replaced(
                "grad_x",
                lambda r, _: (r.true.traces[1].grad_input @ r.true.traces[1].cell.weight_ih)[::-1],
            ),
        ),
    ],
    "what is off equals the gradient of the state after step 0": [
        (
            "deep gru",
            replaced(
                "grad_h0", lambda r, _: np.stack([t.grad_states[0][0] for t in r.true.traces])
            ),
        ),
    ],
}
SENTENCES = [
    pytest.param(
        sentence, CASES[name].replace(dtype=dtype), change, id=f"{dtype}-{name}-{sentence}"
    )
    for table, dtypes in (
        (OUTPUT, ("float32", "float64", "bfloat16")),
        (STATES, ("float32", "float64")),  # few elements, and coarse ones, are too little to go by
        (GRADIENTS, ("float32", "float64")),
    )
    for sentence, made in table.items()
    for name, change in made
    for dtype in dtypes
    if (name, dtype) != ("chaotic", "bfloat16")  # three steps of which are judged
]


@pytest.mark.parametrize(("sentence", "case", "change"), SENTENCES)
def test_what_a_wrong_result_equals_is_told(sentence, case, change):
    assert sentence in said_of(case, change)
