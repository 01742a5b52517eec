"""How far float32 products may be rounded: what is set, what really ran, and what may have."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import loaded

import rnnparity
from rnnparity import RNNConfig, Settings, UsageError
from rnnparity.implementations import frameworks
from rnnparity.implementations.execution import execute
from rnnparity.implementations.settings import MATMUL_PRECISIONS
from rnnparity.judging import precision
from rnnparity.judging.reference import reference
from rnnparity.judging.unit.arithmetic import Arithmetic
from rnnparity.judging.verdict import judge
from rnnparity.problems import presets
from rnnparity.problems.arrays import build
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


# Of every kind; `rounded` is given the operands of a product, `finished` what is computed on the
# way, and `kept` every state.
OF_ANY_KIND = """
import ml_dtypes
import numpy as np
framework, kind = "numpy", {kind!r}

def nearest(a, bits):
    fraction, exponent = np.frexp(a)
    return np.ldexp(np.round(fraction * 2.0**bits), exponent - bits).astype(a.dtype)

def rounded(a, w):
    {rounded}

def finished(a):
    {finished}

def kept(a):
    {kept}

def product(a, w):
    a, w = rounded(a, w)
    return finished(a @ w.T)

def sigmoid(a):
    return finished(1 / (1 + np.exp(-a)))

def layer(x, h, *more):
    c, cell, name = (more[0], more[1], None) if kind == "lstm" else (None, *more, "tanh")[:3]
    w_ih, w_hh, b_ih, b_hh = cell
    output = np.empty((len(x), *h.shape), x.dtype)
    for t in range(len(x)):
        from_x, from_h = product(x[t], w_ih) + b_ih, product(h, w_hh) + b_hh
        if kind == "rnn":
            a = from_x + from_h
            h = np.tanh(a) if name == "tanh" else np.maximum(a, 0)
        elif kind == "gru":
            (xr, xz, xn), (hr, hz, hn) = np.split(from_x, 3, -1), np.split(from_h, 3, -1)
            r, z = sigmoid(xr + hr), sigmoid(xz + hz)
            h = (1 - z) * np.tanh(xn + r * hn) + z * h
        else:
            i, f, g, o = np.split(from_x + from_h, 4, -1)
            c = kept(sigmoid(f) * c + sigmoid(i) * np.tanh(g))
            h = sigmoid(o) * np.tanh(c)
        h = output[t] = kept(h)
    return (output, h) if c is None else (output, h, c)
"""

AS_IT_IS, TO_BFLOAT16 = "return a", "return a.astype(ml_dtypes.bfloat16).astype(a.dtype)"


def written(path, kind, rounded="return a, w", finished=AS_IT_IS, kept=AS_IT_IS):
    given = {"kind": kind, "rounded": rounded, "finished": finished, "kept": kept}
    path.write_text(OF_ANY_KIND.format(**given))
    return path


def sized(kind, *sizes):
    """Cases of one layer: `T, B, I, H` each."""
    return [
        Case(config=RNNConfig(input_size=I, hidden_size=H, kind=kind), T=T, B=B)
        for T, B, I, H in sizes
    ]


def ran(run):
    return [(r.matmul_precision, r.verdict) for r in sorted(run.records, key=lambda r: r.case)]


KINDS = ("rnn", "gru", "lstm")
ROUNDINGS = {
    "float32": "return a, w",
    "tf32": "return nearest(a, 11), nearest(w, 11)",
    "bfloat16": "return nearest(a, 8), nearest(w, 8)",
    "float16": "return a.astype(np.float16).astype(a.dtype), w.astype(np.float16).astype(a.dtype)",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ROUNDINGS)
def test_what_ran_is_named_of_every_kind(kind, precision, tmp_path):
    path = written(tmp_path / "mine.py", kind, ROUNDINGS[precision])
    # The second does not tell, having two layers: what the canary found counts.
    config = RNNConfig(input_size=16, hidden_size=32, num_layers=2, kind=kind)
    cases = [*sized(kind, (3, 4, 16, 32)), Case(config=config, T=3, B=4)]
    run = rnnparity.check(path, cases=cases, cell=kind, out=tmp_path / "run")
    # float16 is what TF32 is, except where numbers are as small as half of the canary's are.
    assert ran(run) == [(precision, "pass" if precision == "float32" else "fail")] * 2
    if precision != "float32":
        told = f"matrix products ran in {precision}, not in float32"
        assert all(told in record.reason for record in run.records)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("declared", ["tf32", "bfloat16"])
def test_each_case_tells_where_a_precision_is_chosen_by_size(kind, declared, tmp_path):
    """From more multiplications on than the canary has: that knows nothing of it."""
    large = "k = 8 if len(a) * w.size > 2**19 else 24\n    return nearest(a, k), nearest(w, k)"
    path = written(tmp_path / "mine.py", kind, large)
    cases = sized(kind, (3, 4, 16, 32), (4, 32, 130, 257))
    settings = Settings(matmul_precision=declared)
    run = rnnparity.check(path, cases=cases, cell=kind, settings=settings, out=tmp_path / "run")
    allowed = declared == "bfloat16"
    assert ran(run) == [("float32", "pass"), ("bfloat16", "pass" if allowed else "fail")]
    assert allowed or f"ran in bfloat16, not in {declared}" in run.records[1].reason


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_a_computation_in_bfloat16_is_told_from_its_products(kind, tmp_path):
    """Its results are bfloat16 numbers, which no declaration for products covers."""
    rounded = ROUNDINGS["bfloat16"], TO_BFLOAT16, TO_BFLOAT16
    whole = written(tmp_path / "whole.py", kind, *rounded)
    alone = written(tmp_path / "alone.py", kind, kept=TO_BFLOAT16)
    (case,) = sized(kind, (12, 8, 16, 32))
    for declared in MATMUL_PRECISIONS:
        settings, out = Settings(matmul_precision=declared), tmp_path / declared
        paths = (whole, alone) if declared == "float32" else (whole,)
        run = rnnparity.check(*paths, cases=[case], cell=kind, settings=settings, out=out)
        *of_alone, of_whole = sorted(run.records, key=lambda record: record.implementation)
        assert of_whole.matmul_precision == "bfloat16"
        assert "every value is a bfloat16 number" in of_whole.reason or declared == "bfloat16"
        assert ("ran in bfloat16" in of_whole.reason) == (declared != "bfloat16")
        if declared == "float32":
            assert [of_whole.verdict, *(r.verdict for r in of_alone)] == ["fail", "fail"]
            assert "every value is a bfloat16 number" in of_alone[0].reason
            assert "ran in" not in of_alone[0].reason


@pytest.mark.parametrize("kind", KINDS)
def test_an_assertion_names_the_precision(kind, tmp_path, monkeypatch):
    written(tmp_path / f"half_{kind}.py", kind, ROUNDINGS["bfloat16"])
    monkeypatch.syspath_prepend(tmp_path)
    module = pytest.importorskip(f"half_{kind}")
    (case,) = sized(kind, (3, 4, 16, 32))
    weights = build(case).weights
    with pytest.raises(AssertionError, match="products ran in bfloat16, not in float32"):
        rnnparity.assert_parity(module, weights)


def test_products_of_one_weight_and_too_few_results_tell_nothing():
    """A case of two results tells nothing, nor does one in which all operands are bfloat16's."""
    (small, case) = sized("rnn", (3, 1, 4, 2), (1, 16, 64, 64))
    for one in (small, case):
        problem = build(one)
        as_bfloat16 = {n: w.astype("bfloat16").astype("f4") for n, w in problem.weights.items()}
        if one is case:
            x, h0 = (a.astype("bfloat16").astype("f4") for a in (problem.x, problem.h0))
            problem = problem._replace(weights=as_bfloat16, x=x, h0=h0)
        w_ih, w_hh, b_ih, b_hh = problem.weights.values()
        output = np.tanh(problem.x[:1] @ w_ih.T + b_ih + problem.h0 @ w_hh.T + b_hh)
        assert precision.precision_of(output, problem, one) is None


def test_rounding_where_the_processor_rounds(tmp_path):
    """PyTorch's `medium`, on a CPU for which oneDNN has float32 products in bfloat16."""
    torch = pytest.importorskip("torch")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    a = torch.ones(512, 512) + 2.0**-12
    rounds = bool((a @ a != 512 * a[0, 0] ** 2).any()) and float((a @ a)[0, 0]) == 512
    torch.set_float32_matmul_precision(before)
    if not rounds:
        pytest.skip("oneDNN makes float32 products of float32 under `medium` here: it needs AMX")
    cases = sized("rnn", (3, 64, 64, 128))
    for declared in ("float32", "bfloat16"):
        settings, out = Settings(matmul_precision=declared), tmp_path / declared
        names = ["torch-loop", "torch-rnn"]
        run = rnnparity.check(*names, cases=cases, settings=settings, out=out)
        assert ran(run) == [(declared, "pass")] * 2


def test_openvino_where_the_processor_has_bfloat16(tmp_path):
    openvino = pytest.importorskip("openvino")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("OpenVINO has no bfloat16 on this CPU")
    names = ["openvino", "openvino-f32"]
    run = rnnparity.check(*names, cases=sized("rnn", (3, 4, 16, 32)), out=tmp_path / "run")
    found = {r.implementation: (r.matmul_precision, r.verdict) for r in run.records}
    assert found == {"openvino": ("bfloat16", "xfail"), "openvino-f32": ("float32", "pass")}


SET_BEFORE = """
import json, sys
import torch
from rnnparity import Settings
from rnnparity.implementations import frameworks
BEFORE
def told():
    found = [torch.backends.mkldnn.matmul.fp32_precision, torch.backends.mkldnn.rnn.fp32_precision]
    return [*found, torch.backends.cuda.matmul.fp32_precision]
before, settings = told(), Settings(matmul_precision=sys.argv[1])
with frameworks.as_set(frameworks.imported("torch", settings), settings):
    inside = told()
print(json.dumps([before != inside, inside, told() == before]))
"""


@pytest.mark.parametrize(
    "before",
    [
        "torch.set_float32_matmul_precision('medium')",
        "torch.backends.mkldnn.matmul.fp32_precision = 'bf16'",
        "torch.backends.mkldnn.fp32_precision = 'bf16'",
        "torch.backends.fp32_precision = 'tf32'",
    ],
)
@pytest.mark.parametrize(
    ("precision", "onednn", "cuda"),
    [("float32", "ieee", "ieee"), ("tf32", "tf32", "tf32"), ("bfloat16", "bf16", "tf32")],
)
def test_whatever_torch_was_set_to_before(before, precision, onednn, cuda):
    torch = pytest.importorskip("torch")
    if not hasattr(getattr(torch.backends.mkldnn, "rnn", None), "fp32_precision"):
        pytest.skip("this PyTorch has no settings of oneDNN's operations (2.9 has)")
    command = [sys.executable, "-c", SET_BEFORE.replace("BEFORE", before), precision]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[1:] == [[onednn, onednn, cuda], True]


@pytest.mark.parametrize("around", ["default_matmul_precision", "enable_x64"])
def test_a_context_manager_of_jax_around_an_assertion_is_overruled(around):
    jax = pytest.importorskip("jax")
    context = getattr(jax if hasattr(jax, around) else jax.experimental, around)
    settings, names = Settings(), ("jax_enable_x64", "jax_default_matmul_precision")
    border = frameworks.imported("jax", settings)
    outside = [jax.config.values[name] for name in names]
    with context({"default_matmul_precision": "bfloat16", "enable_x64": False}[around]):
        before = [jax.config.values[name] for name in names]
        with frameworks.as_set(border, settings):
            assert [jax.config.values[name] for name in names] == [True, "highest"]
        assert [jax.config.values[name] for name in names] == before
    assert [jax.config.values[name] for name in names] == outside


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
