"""The fused kernel in interpreted form, and copies of it with a mistake, which must be failed."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from rnnparity.cases import Case
from rnnparity.config import RNNConfig

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("torch", "triton")),
    reason="triton is not installed: pip install 'rnnparity[triton]'",
)

TESTS = Path(__file__).parent
KERNEL = TESTS.parent / "impls" / "elman" / "triton_fused.py"

# So few bytes on chip and processors that a small state is shared by blocks, and rows by groups.
# Mistakes make blocks wait for what never comes: not for long.
SHARED = {
    "BYTES_PER_BLOCK = 2**16": "BYTES_PER_BLOCK = 2**10",
    "        return 132  #": "        return 6  #",
    "PATIENCE = 2**21": "PATIENCE = 2",
}


def _case(T=5, B=3, I=4, H=17, dtype="float32", ragged=False, h0=True, **arguments):
    config = RNNConfig(input_size=I, hidden_size=H, **arguments)
    return Case(config=config, T=T, B=B, dtype=dtype, ragged=ragged, h0=h0)


BOTH = {"bidirectional": True, "ragged": True}
CASES = [
    _case(),
    _case(nonlinearity="relu", **BOTH),
    _case(H=3, num_layers=2, **BOTH),
    _case(H=33, B=2),
    _case(H=33, B=2, nonlinearity="relu"),
    _case(H=16, B=1, batch_first=True),
    _case(T=1, H=5),
    _case(T=1, B=1, I=1, H=1, h0=False),
    _case(B=None, bias=False, h0=False),
    *(_case(dtype=dtype, T=4, B=2) for dtype in ("float64", "float16", "bfloat16")),
]
SHARED_CASES = [
    _case(H=33),
    _case(H=33, B=5, T=3, nonlinearity="relu"),
    _case(H=20, B=2, T=4, **BOTH),
    _case(H=17, B=1, T=1),
    *(_case(H=18, T=3, B=2, dtype=dtype) for dtype in ("float64", "float16", "bfloat16")),
]


def _copy(folder, name, *changes):
    """Write a copy of the kernel with every change made, exactly once each."""
    source = KERNEL.read_text(encoding="utf-8")
    for change in changes:
        for old, new in change.items():
            assert source.count(old) == 1, old
            source = source.replace(old, new)
    path = folder / f"{name}.py"
    path.write_text(source, encoding="utf-8")
    return str(path)


def _judge(asked, interpret="1"):
    """Judge cases in a process that interprets Triton's kernels; return (id, verdict, reason)s."""
    done = subprocess.run(
        [sys.executable, TESTS / "judge_apart.py"],
        input=msgspec.json.encode(asked),
        capture_output=True,
        env=os.environ | {"TRITON_INTERPRET": interpret},
    )
    assert done.returncode == 0, done.stderr.decode()
    return [tuple(json.loads(line)) for line in done.stdout.decode().splitlines()]


def test_it_agrees_with_the_truth():
    found = _judge([(str(KERNEL), case) for case in CASES])
    assert [verdict for _, verdict, _ in found] == ["pass"] * len(CASES), found


def test_shared_by_blocks_it_agrees_with_the_truth(tmp_path):
    shared = _copy(tmp_path, "shared", SHARED)
    found = _judge([(shared, case) for case in SHARED_CASES])
    assert [verdict for _, verdict, _ in found] == ["pass"] * len(SHARED_CASES), found


ONE_BLOCK = {
    "the padding of W_hh is not zeros": {
        "(0, missing, 0, missing))": "(0, missing, 0, missing), value=0.1)"
    },
    "what is added comes a step late": {"_place(m + 1,": "_place(m + 2 * ROWS,"},
    "the last step is not made": {"range(start * ROWS, stop * ROWS)": "range(start, stop - 1)"},
    "another sequence's first state": {
        "states + before + here + j, mine": "states + before + here // (B * H) * B * H + j, mine"
    },
    "another sequence's input": {
        "addend + ahead + j": "addend + ahead // (B * H) * B * H + j",
    },
    "no bias": {"bias_ih + bias_hh, padded": "bias_ih, padded"},
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
        "k < length\n": "k < length // J * J\n",
    },
    "the last tile is not written": {
        "rounded, j < length)": "rounded, j < length // J * J)",
    },
    "groups of rows overlap": {
        "b = tl.program_id(1) * ROWS + m % ROWS": "b = tl.program_id(1) + m % ROWS",
    },
}


def test_every_mistake_is_failed(tmp_path):
    asked, names = [], []
    for name, change in ONE_BLOCK.items():
        nonlinearity = "relu" if "relu" in name else "tanh"
        asked.append(
            (_copy(tmp_path, f"one{len(asked)}", change), _case(nonlinearity=nonlinearity))
        )
        names.append(name)
    for name, change in BLOCKS.items():
        asked.append((_copy(tmp_path, f"many{len(asked)}", SHARED, change), _case(H=33, T=4, B=5)))
        names.append(name)
    found = _judge(asked)
    verdicts = {name: verdict for name, (_, verdict, _) in zip(names, found, strict=True)}
    assert verdicts == dict.fromkeys(names, "fail"), found


def test_without_interpretation_it_is_for_a_card():
    ((_, verdict, reason),) = _judge([(str(KERNEL), CASES[0])], interpret="0")
    assert (verdict, reason) == ("unsupported", "declares devices cuda")


@pytest.mark.parametrize("processors", [1, 20, 132])
def test_every_layout_covers_all_rows_and_runs_at_once(processors):
    torch = pytest.importorskip("torch")
    from elman import triton_fused

    for dtype in (torch.float64, torch.float32, torch.float16):
        for H in (1, 16, 17, 64, 128, 129, 200, 512, 1760):
            for B in (1, 2, 31, 32, 500):
                plan = triton_fused.plan(B, H, dtype, processors)
                assert (plan.split - 1) * plan.J < H <= plan.split * plan.J
                assert H <= plan.KO * plan.KI
                assert (plan.groups - 1) * plan.rows < B <= plan.groups * plan.rows
                alone = plan.split == 1
                assert not alone or (plan.rows == 1 and plan.J == plan.KO * plan.KI)
                if 1 < plan.split <= processors:
                    assert plan.split * plan.groups <= processors
