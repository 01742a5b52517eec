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
RECURRENCES = TESTS.parent / "impls" / "recurrences"
ROOMS = {"rnn": "elman", "gru": "gru", "lstm": "lstm"}
KERNELS = {"rnn": "elman/triton_kernel.py", "gru": "triton_gates.py", "lstm": "triton_gates.py"}

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
# Two blocks in two groups of two rows, the last tile of one unit.
UNEVEN = _case(H=17, B=4)
SHARED_CASES = [
    _case(H=33, B=5),
    _case(H=18, T=1, nonlinearity="relu", bidirectional=True, dtype="float64"),
    *(_case(H=18, B=1, dtype=dtype) for dtype in ("float16", "bfloat16")),
]


def _of(kind, case):
    """Return the same case for another kind of cell."""
    if kind == "rnn":
        return case
    config = msgspec.structs.replace(case.config, kind=kind, nonlinearity="tanh")
    return msgspec.structs.replace(case, config=config)


def _page(kind):
    return RECURRENCES / ROOMS[kind] / "triton_fused.py"


def _copy(folder, name, kind, *changes):
    """Write a copy of the implementation and of what it imports; make every change exactly once."""
    sources = {"": _page(kind), "_kernel": RECURRENCES / KERNELS[kind]}
    sources["_layout"] = RECURRENCES / "triton_layout.py"
    texts = {part: path.read_text(encoding="utf-8") for part, path in sources.items()}
    changes = [item for change in changes for item in change.items()]
    for old, new in changes:
        assert sum(text.count(old) for text in texts.values()) == 1, old
        texts = {part: text.replace(old, new) for part, text in texts.items()}
    for part, text in texts.items():
        text = text.replace("from recurrences.triton_layout", f"from {name}_layout")
        text = text.replace("from recurrences.elman.triton_kernel", f"from {name}_kernel")
        text = text.replace(
            "from recurrences import triton_gates", f"import {name}_kernel as triton_gates"
        )
        assert "import triton_" not in text.replace("as triton_gates", "")
        assert "from recurrences" not in text
        (folder / f"{name}{part}.py").write_text(text, encoding="utf-8")
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
    "what is added comes a step late": {"place(m + 1,": "place(m + 2 * ROWS,"},
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
        "after + here + j, state, j < length)": "after + here + j, state, j < length // J * J)",
    },
    "groups of rows overlap": {
        "* ROWS + m % ROWS\n    t =": "+ m % ROWS\n    t =",
    },
}


GATES_ONE_BLOCK = {
    "the padding of W_hh is not zeros": {
        "(0, missing, 0, missing))": "(0, missing, 0, missing), value=0.1)"
    },
    "what is added comes a step late": {
        "place(m + 1, T, B, H, ROWS, False)": "place(m + 2 * ROWS, T, B, H, ROWS, False)"
    },
    "the last step is not made": {"(T, B, H), constants, T)": "(T, B, H), constants, T - 1)"},
    "another sequence's first state": {"tl.load(h_0 + b * H + j": "tl.load(h_0 + j"},
    "another sequence's input": {
        "addend + ahead * G + j": "addend + ahead // (B * H) * B * H * G + j",
    },
    "two gates exchanged": {
        "added_0 + product_0)  # r": "added_1 + product_1)  # r",
        "i = logistic(added_0 + product_0)\n": "i = logistic(added_1 + product_0)\n",
    },
    "the state that a unit hands on is another sequence's": {
        "own = tl.load(cells + here + j": "own = tl.load(cells + here // (B * H) * B * H + j",
    },
    "the gradient of h_n at every step": {"tl.where(m < ROWS, length, 0)": "length"},
    "the gradient of h_n left out": {"tl.where(m < ROWS, length, 0)": "0"},
    "what was kept, a step before": {
        "kept + here * 4 + 2 * H + j, j < length, other=0": (
            "kept + tl.where(here < B * H, here, here - B * H) * 4 + 2 * H + j, j < length, other=0"
        )
    },
    "what goes past the gates left out": {
        "own = grad_c * f": "own = grad_c * 0",
        "own = grad * f": "own = grad * 0",
    },
    "W_hh not transposed on the way back": {"padded, padded.mT.contiguous()": "padded, padded"},
    "the last gate's product left out on the way back": {
        "product += _product(weight_2, term)": "product += 0 * _product(weight_2, term)"
    },
}
GATES_BLOCKS = {
    "another block's rows of W_hh": {"+ tl.program_id(0) * J + n % J": "+ n % J"},
    "another sequence's state": {
        "_awaited(bits, here + k": "_awaited(bits, here // (B * H) * B * H + k",
    },
    "a state read a step late": {
        "_awaited(bits, here + k": "_awaited(bits, here + k - tl.where(m < ROWS, 0, B * H)",
    },
    "the last block's states are not read": {
        "k < tl.where(length > 0, H, 0)": "k < tl.where(length > 0, H // J * J, 0)",
    },
    "back, a product before the first": {"k < tl.where(m < ROWS, 0, whole)": "k < whole"},
    "the last tile is not written": {
        "tl.store(states + after + j, state, j < length)": (
            "tl.store(states + after + j, state, j < length // J * J)"
        ),
    },
    "the last tile's gradients are not written": {
        "tl.store(sums + here * 4 + H + j, state_1, j < length)": (
            "tl.store(sums + here * 4 + H + j, state_1, j < length // J * J)"
        ),
    },
    "groups of rows overlap": {"* ROWS + m % ROWS\n    t =": "+ m % ROWS\n    t ="},
    "back, another sequence's gradient hands on": {
        "own = tl.load(passed + b * H + j, j < whole": "own = tl.load(passed + j, j < whole",
    },
    "what a sequence hands on is the one's before it": {
        "next_own = tl.load(cells + ahead + j": "next_own = tl.load(cells + here + j",
    },
}
# Mistakes of one kind alone; the passages stand in its page, or in its branch of the kernel.
OWN = {
    "rnn": {},
    "gru": {
        "b_hn outside of r": {
            "o = product_2 + bias  # q": "o = product_2  # q",
            "g = tanh(added_2 + i * o)  # n": "g = tanh(added_2 + bias + i * o)  # n",
        },
        "z and 1 - z exchanged": {"own = g + f * (own - g)": "own = own + f * (g - own)"},
        "the gradient of q for n's": {"state_2 = state_3 * i  # of q": "state_2 = state_3"},
        "no bias b_hr": {"bias = bias_ih + ": "bias = bias_ih + 0 * "},
    },
    "lstm": {
        "the gradient of c_n left out": {"grad_c_n.clone()": "torch.zeros_like(grad_c_n)"},
        "c_0 is zero": {"tl.load(c_0 + b * H + j, mine, other=0)": "0 * state"},
        "no bias": {"bias_ih + bias_hh, padded": "bias_ih, padded"},
        "c of the step before for c": {"tanh_c = tanh(after)": "tanh_c = tanh(before)"},
    },
}


@pytest.mark.parametrize("kind", ROOMS)
def test_it_agrees_with_the_truth_and_every_mistake_is_failed(tmp_path, kind):
    shared = _copy(tmp_path, "shared", kind, SHARED)
    right = [(str(_page(kind)), _of(kind, case)) for case in CASES]
    right += [(shared, _of(kind, case)) for case in SHARED_CASES]
    one_block, blocks = ONE_BLOCK, BLOCKS
    if kind != "rnn":  # one kernel: what both kinds have in common is tried on them in turn
        first = kind == "lstm"
        one_block, blocks = (
            {name: change for i, (name, change) in enumerate(of.items()) if i % 2 == first}
            for of in (GATES_ONE_BLOCK, GATES_BLOCKS)
        )
    wrong = {}
    for name, change in (one_block | OWN[kind]).items():
        case = _case(T=3, nonlinearity="relu" if "relu" in name else "tanh")
        wrong[name] = _copy(tmp_path, f"one{len(wrong)}", kind, change), _of(kind, case)
    for name, change in blocks.items():
        copy = _copy(tmp_path, f"many{len(wrong)}", kind, SHARED, change)
        wrong[name] = copy, _of(kind, UNEVEN)
    found = _judge([*right, *wrong.values()], folder=tmp_path)
    judged, failed = found[: len(right)], found[len(right) :]
    assert [verdict for _, verdict, _ in judged] == ["pass"] * len(right), judged
    verdicts = {name: verdict for name, (_, verdict, _) in zip(wrong, failed, strict=True)}
    assert verdicts == dict.fromkeys(wrong, "fail"), failed


@pytest.mark.parametrize("kind", ROOMS)
def test_without_interpretation_it_is_for_a_card(kind):
    ((_, verdict, reason),) = _judge([(str(_page(kind)), _of(kind, CASES[0]))], interpret="0")
    assert (verdict, reason) == ("unsupported", "declares devices cuda")


@pytest.mark.parametrize("kind", ROOMS)
@pytest.mark.parametrize(("T", "B"), [(0, 2), (3, 0)])
def test_without_steps_the_state_stays_and_its_gradient_goes_past(kind, T, B):
    torch = pytest.importorskip("torch")
    page = importlib.import_module(f"recurrences.{ROOMS[kind]}.triton_fused")
    gates, more = {"rnn": (1, ("tanh",)), "gru": (3, ()), "lstm": (4, ())}[kind]
    shapes = (gates * 4, 2), (gates * 4, 4), (gates * 4,), (gates * 4,)
    cell = page.prepare(tuple(torch.ones(shape) for shape in shapes), *more)
    states = [torch.randn(B, 4, requires_grad=True) for _ in range(2 if kind == "lstm" else 1)]
    output, *last = page.layer(torch.ones(T, B, 2), *states, cell, *more)
    assert output.shape == (T, B, 4)
    assert all(torch.equal(one, state) for one, state in zip(last, states, strict=True))
    sum(one.sum() for one in last).backward()
    assert all((state.grad == 1).all() for state in states)


@pytest.mark.parametrize("processors", [1, 20, 132])
@pytest.mark.parametrize("gates", [1, 3, 4])
def test_every_layout_covers_all_rows_and_runs_at_once(processors, gates):
    torch = pytest.importorskip("torch")
    from recurrences import triton_layout

    for dtype in (torch.float64, torch.float32):
        for H in (1, 16, 17, 64, 128, 129, 200, 512, 1760):
            for B in (1, 2, 31, 32, 500):
                plan = triton_layout.plan(B, H, dtype, processors, gates)
                assert (plan.split - 1) * plan.J < H <= plan.split * plan.J
                assert H <= plan.KO * plan.KI
                assert (plan.groups - 1) * plan.rows < B <= plan.groups * plan.rows
                assert plan.warps in (1, 2, 4, 8, 16)
                alone = plan.split == 1
                assert not alone or (plan.rows == 1 and plan.J == plan.KO * plan.KI)
                # Of two threads that look for one state, one may find it and the other not yet.
                assert alone or 32 * plan.warps <= plan.KO * plan.KI
                if 1 < plan.split <= processors:
                    assert plan.split * plan.groups <= processors


# Bytes of a thread's registers that may have to wait in memory.
SPILLED = 96

COMPILE = """
import json, pathlib, subprocess, sys
import torch, triton, triton.language as tl
from triton.backends import nvidia
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from recurrences import triton_gates, triton_layout
from recurrences.elman import triton_kernel

NAMES = {torch.float32: "*fp32", torch.float64: "*fp64", torch.int32: "*i32", torch.int64: "*i64"}
BITS = {torch.float32: torch.int32, torch.float64: torch.int64}

def compiled(kernel, dtypes, constants, plan, folder):
    names = kernel.arg_names
    kinds = [*(NAMES[dtype] for dtype in dtypes), *["i32"] * 6, *["constexpr"] * len(constants)]
    first = len(names) - len(constants)
    source = ASTSource(
        kernel,
        dict(zip(names, kinds, strict=True)),
        {(first + i,): constant for i, constant in enumerate(constants)},
    )
    options = {"num_warps": plan.warps, "launch_cooperative_grid": plan.split > 1}
    options["enable_fp_fusion"] = True
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    path = pathlib.Path(folder, "kernel.cubin")
    path.write_bytes(made.asm["cubin"])
    tool = pathlib.Path(nvidia.__file__).with_name("bin") / "cuobjdump"
    told = subprocess.run([tool, "--dump-resource-usage", path], capture_output=True, text=True)
    words = dict(word.split(":") for word in told.stdout.split() if word.count(":") == 1)
    return {"registers": int(words["REG"]), "stack": int(words["STACK"])}

folder, H, dtype = sys.argv[1], int(sys.argv[2]), getattr(torch, sys.argv[3])
wide = tl.float64 if dtype == torch.float64 else tl.float32
for gates in (1, 3, 4):
    plan = triton_layout.plan(16, H, dtype, 132, gates)
    layout = plan.split, plan.rows, plan.J, plan.KO, plan.KI, wide
    bits = dtype if plan.split == 1 else BITS[dtype]
    for backward in (False, True):
        if gates == 1:
            kernel, at, constants = triton_kernel._recur, 4, (backward, True, *layout)
        elif backward:
            kernel, at, constants = triton_gates._backward, 6, (gates == 4, *layout)
        else:
            kernel, at, constants = triton_gates._forward, 6, (gates == 4, True, *layout)
        dtypes = [dtype] * (7 if gates == 1 else 9)
        dtypes[at] = bits
        print(json.dumps(compiled(kernel, dtypes, constants, plan, folder)), flush=True)
"""


SIZES = [(64, "float32"), (512, "float32"), (20, "float64")]


@pytest.mark.parametrize(("H", "dtype"), SIZES, ids=str)
def test_the_kernels_compile_for_a_card_and_fit_its_registers(tmp_path, H, dtype):
    """All that can be known of them without one (an H100's, compute capability 9.0)."""
    environment = os.environ | {"TRITON_CACHE_DIR": str(tmp_path / "cache")}
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, tmp_path, str(H), dtype],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 6
    assert all(0 < one["registers"] <= 255 for one in found)
    assert max(one["stack"] for one in found) <= SPILLED, found
