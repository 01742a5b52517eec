"""The fused kernel in interpreted form, and copies of it with a mistake, which must be failed."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from rnnparity.cells.config import RNNConfig
from rnnparity.problems.cases import Case

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("torch", "triton")),
    reason="triton is not installed: pip install 'rnnparity[triton]'",
)

TESTS = Path(__file__).parents[1]
IMPLEMENTATION = TESTS.parent / "impls" / "recurrences" / "elman" / "triton_fused.py"
KERNEL = IMPLEMENTATION.with_name("triton_kernel.py")

# So few bytes on chip and processors that a small state is shared by blocks, and rows by groups.
# Mistakes make blocks wait for what never comes: not for long.
SHARED = {
    "BYTES_PER_BLOCK = 2**16": "BYTES_PER_BLOCK = 2**10",
    "return 132  #": "return 6  #",
    "PATIENCE = 2**21": "PATIENCE = 2",
}


def _case(T=2, B=2, I=2, H=17, dtype="float32", ragged=False, h0=True, **arguments):
    config = RNNConfig(input_size=I, hidden_size=H, **arguments)
    return Case(config=config, T=T, B=B, dtype=dtype, ragged=ragged, h0=h0)


# Each value of each argument once or more, not each beside each other's.
CASES = [
    _case(T=3),
    _case(H=3, nonlinearity="relu", num_layers=2, bidirectional=True, ragged=True),
    _case(H=33, B=1, nonlinearity="relu", batch_first=True),
    _case(T=1, B=1, I=1, H=1, h0=False),
    _case(H=5, B=None, bias=False, h0=False, dtype="float64"),
    *(_case(H=16, B=1, dtype=dtype) for dtype in ("float16", "bfloat16")),
]
SHARED_CASES = [
    _case(H=33, B=5),
    _case(H=18, T=1, nonlinearity="relu", bidirectional=True, dtype="float64"),
    *(_case(H=18, B=1, dtype=dtype) for dtype in ("float16", "bfloat16")),
]


def _copy(folder, name, *changes):
    """Write a copy of the implementation, and of its kernel; make every change exactly once."""
    texts = {
        f"{name}_kernel.py": KERNEL.read_text(encoding="utf-8"),
        f"{name}.py": IMPLEMENTATION.read_text(encoding="utf-8"),
    }
    changes = ({"from recurrences.elman.triton_kernel": f"from {name}_kernel"}, *changes)
    for old, new in (item for change in changes for item in change.items()):
        assert sum(text.count(old) for text in texts.values()) == 1, old
        texts = {file: text.replace(old, new) for file, text in texts.items()}
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
    return str(folder / f"{name}.py")


def _judge(asked, interpret="1", folder=TESTS):
    """Judge cases in a process that interprets Triton's kernels; return (id, verdict, reason)s."""
    path = os.pathsep.join((str(folder), str(TESTS), os.environ.get("PYTHONPATH", "")))
    done = subprocess.run(
        [sys.executable, TESTS / "support" / "judge_apart.py"],
        input=msgspec.json.encode(asked),
        capture_output=True,
        env=os.environ | {"TRITON_INTERPRET": interpret, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr.decode()
    return [tuple(json.loads(line)) for line in done.stdout.decode().splitlines()]


ONE_BLOCK = {
    "the padding of W_hh is not zeros": {
        "(0, missing, 0, missing))": "(0, missing, 0, missing), value=0.1)"
    },
    "what is added comes a step late": {"_place(m + 1,": "_place(m + 2 * ROWS,"},
    "the last step is not made": {"range(start * ROWS, stop * ROWS)": "range(start, stop - 1)"},
    "another sequence's first state": {
        "tl.load(first + b * H + j, mine": "tl.load(first + j, mine"
    },
    "another sequence's input": {
        "addend + ahead + j": "addend + ahead // (B * H) * B * H + j",
    },
    "no bias": {"bias_ih + bias_hh, padded": "bias_ih, padded"},
    "the gradient of h_n at every step": {"m + 1 < ROWS": "m >= 0"},
    "the gradient of h_n left out": {"tl.where(start == 0, length, 0)": "0"},
    "the first state for the last": {"tl.where(final, whole, 0)": "tl.where(m < ROWS, whole, 0)"},
    "relu's slope of the step before": {
        "forward + B * H + ahead + j": "forward + ahead + j",
    },
    "W_hh not transposed on the way back": {"padded, padded.T.contiguous()": "padded, padded"},
}
BLOCKS = {
    "another block's rows of W_hh": {
        "row, column = tl.program_id(0) * J + n % J": "row, column = n % J",
    },
    "another sequence's state": {
        "bits + before + here + k": "bits + before + here // (B * H) * B * H + k",
    },
    "a state read a step late": {
        "bits + before + here + k": "bits + before + here + k "
        "+ tl.where(m < ROWS, 0, 1) * (B * H if BACKWARD else -B * H)",
    },
    "the last block's states are not read": {
        "BACKWARD else whole)\n": "BACKWARD else whole // J * J)\n",
    },
    "back, a product before the first": {"tl.where(m < ROWS, 0, whole)": "whole"},
    "the last tile is not written": {
        "rounded, j < length)": "rounded, j < length // J * J)",
    },
    "groups of rows overlap": {
        "* ROWS + m % ROWS\n    t =": "+ m % ROWS\n    t =",
    },
}


def test_it_agrees_with_the_truth_and_every_mistake_is_failed(tmp_path):
    shared = _copy(tmp_path, "shared", SHARED)
    right = [(str(IMPLEMENTATION), case) for case in CASES]
    right += [(shared, case) for case in SHARED_CASES]
    wrong = {}
    for name, change in ONE_BLOCK.items():
        case = _case(T=3, nonlinearity="relu" if "relu" in name else "tanh")
        wrong[name] = _copy(tmp_path, f"one{len(wrong)}", change), case
    for name, change in BLOCKS.items():
        wrong[name] = _copy(tmp_path, f"many{len(wrong)}", SHARED, change), _case(H=33, B=5)
    found = _judge([*right, *wrong.values()], folder=tmp_path)
    judged, failed = found[: len(right)], found[len(right) :]
    assert [verdict for _, verdict, _ in judged] == ["pass"] * len(right), judged
    verdicts = {name: verdict for name, (_, verdict, _) in zip(wrong, failed, strict=True)}
    assert verdicts == dict.fromkeys(wrong, "fail"), failed


def test_without_interpretation_it_is_for_a_card():
    ((_, verdict, reason),) = _judge([(str(IMPLEMENTATION), CASES[0])], interpret="0")
    assert (verdict, reason) == ("unsupported", "declares devices cuda")


@pytest.mark.parametrize("processors", [1, 20, 132])
def test_every_layout_covers_all_rows_and_runs_at_once(processors):
    torch = pytest.importorskip("torch")
    from recurrences.elman import triton_kernel

    for dtype in (torch.float64, torch.float32, torch.float16):
        for H in (1, 16, 17, 64, 128, 129, 200, 512, 1760):
            for B in (1, 2, 31, 32, 500):
                plan = triton_kernel.plan(B, H, dtype, processors)
                assert (plan.split - 1) * plan.J < H <= plan.split * plan.J
                assert H <= plan.KO * plan.KI
                assert (plan.groups - 1) * plan.rows < B <= plan.groups * plan.rows
                alone = plan.split == 1
                assert not alone or (plan.rows == 1 and plan.J == plan.KO * plan.KI)
                # Of two threads that look for one state, one may find it and the other not yet.
                assert alone or 32 * plan.warps <= plan.KO * plan.KI
                if 1 < plan.split <= processors:
                    assert plan.split * plan.groups <= processors
