"""The package as it is installed: what the wheel holds, and what works without extras."""

import re
import subprocess
import zipfile
from pathlib import Path

import pytest
from environments import installed, packages

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_both_packages_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"recurrences", "rnnparity"}
    assert "rnnparity/data/digits.safetensors" in names
    assert "rnnparity/data/findings/onnxruntime-layout/script.py" in names
    assert "recurrences/py.typed" in names
    assert "rnnparity/py.typed" in names


@pytest.fixture(scope="module")
def core(wheel, tmp_path_factory):
    """An interpreter with the wheel, without extras."""
    return installed(tmp_path_factory.mktemp("core"), str(wheel))


@pytest.mark.install
def test_the_core_is_light(core):
    """What `assert_parity` costs a test suite: packages, bytes, and time to import."""
    new = packages(core) - set(core.with_name("before.txt").read_text().split())
    assert "numpy" in new
    assert len(new - {"numpy", "rnnparity"}) <= 12, new
    (site,) = core.parents[1].glob("lib/python*/site-packages")
    own = [
        path for path in site.iterdir() if not path.name.startswith(("numpy", "pip", "setuptools"))
    ]
    size = sum(f.stat().st_size for path in own for f in [path, *path.rglob("*")] if f.is_file())
    print(f"core beside NumPy: {len(new) - 2} packages, {size / 1e6:.0f} MB")
    assert size <= 90e6
    code = (
        "import numpy, time; t = time.perf_counter(); from rnnparity import assert_parity; "
        "print(time.perf_counter() - t)"
    )
    took = [
        float(subprocess.run([core, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(9)
    ]
    print(f"from rnnparity import assert_parity: {min(took):.3f} s")
    assert min(took) < 0.3


@pytest.mark.install
def test_the_core_asserts_and_names_the_extra_of_the_rest(core, tmp_path):
    code = """
import numpy as np
from rnnparity import assert_outputs, assert_parity
weights = {"weight_ih_l0": np.eye(3, dtype="f4"), "weight_hh_l0": np.eye(3, dtype="f4")}
from recurrences.elman import numpy_loop
assert_parity(numpy_loop, weights=weights)
x = np.ones((2, 3), "f4")
h = np.tanh(x[:1])
assert_outputs(np.concatenate([h, np.tanh(x[1:] + h)]), weights=weights, x=x)
try:
    import rnnparity
    rnnparity.check
except ImportError as error:
    print(error)
"""
    done = subprocess.run([core, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Which of the extra's packages is missed first is a matter of the order of imports.
    needs = r"rnnparity\.check needs (loky|psutil): pip install 'rnnparity\[cli\]'\n"
    assert re.fullmatch(needs, done.stdout), done.stdout
    done = subprocess.run([core, "-m", "rnnparity", "check"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "rnnparity: the command line needs typer: pip install 'rnnparity[cli]'\n"
    )


@pytest.fixture
def python(wheel, tmp_path):
    """An interpreter with the wheel and the command line, without any framework but NumPy."""
    return installed(tmp_path, f"{wheel}[cli]")


@pytest.mark.install
def test_without_extras_numpy_is_checked_and_the_others_are_absent(python, tmp_path):
    done = subprocess.run(
        [python, "-m", "rnnparity", "check"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (row,) = (line for line in done.stdout.splitlines() if "numpy-loop" in line)
    assert "pass" in row
    assert "torch-rnn absent: torch is not installed: pip install 'rnnparity[torch]'" in done.stdout
    assert "jax-scan absent: jax is not installed: pip install 'rnnparity[jax]'" in done.stdout
    for words, told in (
        (["run"], "the report needs jinja2: pip install 'rnnparity[report]'"),
        (["bench"], "the report needs jinja2: pip install 'rnnparity[report]'"),
        (["check", "--report"], "the report needs jinja2: pip install 'rnnparity[report]'"),
        (["report", "results"], "the report needs jinja2: pip install 'rnnparity[report]'"),
        (["compare", "a", "b"], "comparing needs scipy: pip install 'rnnparity[bench]'"),
    ):
        done = subprocess.run(
            [python, "-m", "rnnparity", *words], cwd=tmp_path, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (2, f"rnnparity: {told}\n")
