"""A test that asserts leaves the process as it was: those after it are somebody else's."""

import subprocess
import sys
import textwrap

import pytest

# Asked before and after. Each line is a name and what it is now.
STATE = """
def state():
    import os, random, sys, threading, warnings
    import numpy as np
    found = {
        "errstate": np.geterr(), "folder": os.getcwd(), "environment": dict(os.environ),
        "filters": list(warnings.filters), "random": random.getstate(),
        "numpy random": repr(np.random.get_state(legacy=False)),
        "threads": threading.active_count(),
        "modules": sorted(m for m in ("jax", "torch", "flax", "keras") if m in sys.modules),
        "print": repr(np.get_printoptions()), "path": list(sys.path),
    }
    if "jax" in sys.modules:
        import jax
        names = ("enable_x64", "default_matmul_precision", "cpu_enable_async_dispatch")
        found |= {name: jax.config.values["jax_" + name] for name in names}
        found["default dtype"] = str(jax.numpy.ones(1).dtype)
    if "torch" in sys.modules:
        import torch
        b = torch.backends
        found |= {
            "torch threads": torch.get_num_threads(),
            "precision": torch.get_float32_matmul_precision(),
            "tf32": (b.cuda.matmul.allow_tf32, b.cudnn.allow_tf32), "seed": torch.initial_seed(),
            "torch random": torch.get_rng_state().tolist(), "grad": torch.is_grad_enabled(),
            "torch dtype": torch.get_default_dtype(), "anomaly": torch.is_anomaly_enabled(),
        }
        for name in ("cuda.matmul", "mkldnn.matmul", "mkldnn.rnn", "cudnn.conv", "cudnn.rnn"):
            holder = b
            for part in name.split("."):
                holder = getattr(holder, part, None)
            found[name] = getattr(holder, "fp32_precision", None)
    return found
"""

ASSERT = """
import numpy as np
import rnnparity
rng = np.random.default_rng(0)
weights = {
    "weight_ih_l0": rng.normal(size=(4, 3)).astype("f4"),
    "weight_hh_l0": rng.normal(size=(4, 4)).astype("f4"),
}
from recurrences.elman import MODULE as implementation
BEFORE
state()
first = state()
rnnparity.assert_parity(implementation, weights=weights)
wrong = dict(weights)
try:
    rnnparity.assert_parity(lambda x, h0, cell, nonlinearity: (x, h0), weights=weights,
                            framework=implementation.framework)
except AssertionError:
    pass
else:
    raise SystemExit("a wrong one passed")
rnnparity.assert_outputs(np.zeros((2, 4), "f4"), weights={n: w * 0 for n, w in weights.items()},
                         x=np.ones((2, 3), "f4"))
second = state()
different = [name for name in first if first[name] != second[name]]
different += sorted(second.keys() - first.keys())
print(different, {n: (first.get(n), second[n]) for n in different if n != "torch random"})
"""


@pytest.mark.parametrize(
    ("module", "before"),
    [
        ("numpy_loop", ""),
        ("torch_loop", "import torch; torch.set_num_threads(2); torch.manual_seed(1)"),
        ("torch_rnn", "import torch; torch.set_float32_matmul_precision('medium')"),
        ("torch_rnn", "import torch; torch.backends.cudnn.allow_tf32 = False"),
        ("jax_scan", "import jax; jax.config.update('jax_default_matmul_precision', 'bfloat16')"),
        ("jax_scan", "import jax"),
        ("jax_scan", "import jax; jax.default_matmul_precision('bfloat16').__enter__()"),
    ],
)
def test_asserting_changes_nothing_of_the_process(tmp_path, module, before):
    framework = module.partition("_")[0]
    pytest.importorskip(framework, reason=f"{framework} is not installed")
    code = STATE + ASSERT.replace("MODULE", module).replace("BEFORE", before)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[] "), done.stdout


def test_what_changes_something_is_seen(tmp_path):
    """The test above can fail: an implementation that sets NumPy's error state is told."""
    code = (
        STATE
        + "import numpy as np\nfirst = state()\nnp.seterr(all='raise')\nprint(first != state())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout == "True\n", done.stderr


def test_importing_the_package_is_light(tmp_path):
    """`from rnnparity import assert_parity` loads nothing of the command line, report or timing."""
    heavy = (
        "typer",
        "rich",
        "loky",
        "psutil",
        "cpuinfo",
        "altair",
        "jinja2",
        "vl_convert",
        "scipy",
    )
    code = (
        "import sys; from rnnparity import assert_parity, assert_outputs; "
        f"print([m for m in {(*heavy, 'jax', 'torch')} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout == "[]\n", done.stdout + done.stderr


@pytest.mark.parametrize("context", ["no_grad", "inference_mode"])
def test_gradients_are_taken_where_somebody_has_switched_them_off(context):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from rnnparity import assert_parity

    module = torch.nn.RNN(3, 4)
    with getattr(torch, context)():
        assert_parity(module, module, torch.ones(5, 2, 3))
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
