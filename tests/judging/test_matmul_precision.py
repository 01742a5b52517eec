"""How far float32 products may be rounded: what is set, what really ran, and what may have."""

import dataclasses
import json
import subprocess
import sys

import pytest
from conftest import loaded

import rnnparity
from rnnparity import RNNConfig, Settings, UsageError
from rnnparity.implementations.execution import execute
from rnnparity.implementations.settings import MATMUL_PRECISIONS
from rnnparity.judging.reference import reference
from rnnparity.judging.unit.arithmetic import Arithmetic
from rnnparity.judging.verdict import judge
from rnnparity.problems import presets
from rnnparity.problems.cases import Case

BITS = {"float32": 24, "tf32": 11, "bfloat16": 8}

# Rounds what goes into its products, whatever it is told.
ROUNDS = """
import numpy as np
framework = "numpy"

def rounded(a):
    fraction, exponent = np.frexp(a)
    return np.ldexp(np.round(fraction * 2.0**{bits}), exponent - {bits}).astype(a.dtype)

def layer(x, h0, cell, nonlinearity):
    function = np.tanh if nonlinearity == "tanh" else lambda a: np.maximum(a, 0)
    w_ih, w_hh = rounded(cell[0]), rounded(cell[1])
    output, h = np.empty((len(x), *h0.shape), x.dtype), h0
    for t in range(len(x)):
        h = function(rounded(x[t]) @ w_ih.T + cell[2] + rounded(h) @ w_hh.T + cell[3])
        output[t] = h
    return output, h
"""


@pytest.mark.parametrize("allowed", MATMUL_PRECISIONS)
def test_the_canary_names_what_ran_and_fails_what_is_coarser(allowed, tmp_path):
    paths = []
    for name, bits in BITS.items():
        paths.append(tmp_path / f"in_{name}.py")
        paths[-1].write_text(ROUNDS.format(bits=bits))
    case = Case(config=RNNConfig(input_size=64, hidden_size=64), T=3, B=4)
    settings = Settings(matmul_precision=allowed)
    run = rnnparity.check(*paths, cases=[case], settings=settings, out=tmp_path / "run")
    assert {r.implementation: r.matmul_precision for r in run.records} == {
        f"in_{name}": name for name in BITS
    }
    finest = MATMUL_PRECISIONS.index
    for record in run.records:
        ran = record.matmul_precision
        if finest(ran) <= finest(allowed):
            assert record.verdict == "pass", record.reason
        else:
            assert record.verdict == "fail"
            assert f"matrix products ran in {ran}, not in {allowed}" in record.reason


def test_a_step_of_a_chaotic_case_follows_in_the_declared_precision(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(ROUNDS.format(bits=8))
    case = presets.trained("float32")
    implementation, border = loaded(str(path))
    against = reference(case, Settings(matmul_precision="bfloat16"))
    assert against.horizon is not None
    outcome = execute(implementation, border, case, against.problem, "cpu")
    assert judge(case, outcome, against).verdict == "chaotic"
    exact = dataclasses.replace(against, arithmetic=Arithmetic.of("float32"))
    assert "does not follow" in judge(case, outcome, exact).reason


TORCH = """
import json, sys
import torch
from rnnparity import Settings
from rnnparity.implementations import frameworks
frameworks.get("torch", Settings(matmul_precision=sys.argv[1]))
rnn = getattr(torch.backends.cudnn, "rnn", None)
print(json.dumps([
    torch.get_float32_matmul_precision(),
    torch.backends.cuda.matmul.allow_tf32,
    torch.backends.cudnn.allow_tf32,
    getattr(rnn, "fp32_precision", None),
]))
"""


@pytest.mark.parametrize(
    ("precision", "products", "tf32"),
    [("float32", "highest", False), ("tf32", "high", True), ("bfloat16", "medium", True)],
)
def test_all_of_torch_is_set(precision, products, tf32):
    pytest.importorskip("torch")
    command = [sys.executable, "-W", "error", "-c", TORCH, precision]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *found, rnn = json.loads(done.stdout)
    assert found == [products, tf32, tf32]
    assert rnn in (None, "tf32" if tf32 else "ieee")


@pytest.mark.parametrize("precision", MATMUL_PRECISIONS)
def test_jax_knows_the_names(precision):
    jax = pytest.importorskip("jax")
    settings = Settings(matmul_precision=precision)
    name = settings.environment_variables()["JAX_DEFAULT_MATMUL_PRECISION"]
    with jax.default_matmul_precision(name):
        for dtype in ("float64", "float16"):  # which no setting for float32 may touch
            one = jax.numpy.full((1, 1), 1 + 2.0**-9, dtype)
            assert (one @ jax.numpy.ones((1, 1), dtype))[0, 0] == one[0, 0]


def test_an_unknown_precision_is_refused():
    with pytest.raises(UsageError, match="'fp8', expected one of float32, tf32, bfloat16"):
        Settings(matmul_precision="fp8")
