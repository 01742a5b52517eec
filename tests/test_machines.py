"""The program that runs the tests as on other machines: what it must notice."""

import subprocess
import sys
from pathlib import Path

import machines
import pytest

from rnnparity.implementations.registry import registered

ON_A_KERNEL = """
from numpy._core import _multiarray_umath as umath

def test_that_depends_on_the_processor():
    assert umath.__cpu_features__[{name!r}]

def test_that_does_not():
    assert 1 + 1 == 2
"""

SEEN = dict.fromkeys(("openblas", "mkl", "onednn", "aten", "numpy", "xla", "threads"), "")


@pytest.fixture
def without_numpys_kernels():
    found = [one for one in machines.settings() if one.name.startswith("NPY_")]
    if not found[0].variables["NPY_DISABLE_CPU_FEATURES"]:
        pytest.skip("NumPy has nothing to leave out on this processor")
    return found[0]


def test_a_test_that_depends_on_a_kernel_is_caught(tmp_path, without_numpys_kernels):
    setting = without_numpys_kernels
    name = setting.variables["NPY_DISABLE_CPU_FEATURES"].split()[0]
    file = tmp_path / "test_written.py"
    file.write_text(ON_A_KERNEL.format(name=name))
    arguments = [str(file), "-n", "0", "-c", str(tmp_path / "none.ini"), "--rootdir", str(tmp_path)]
    (tmp_path / "none.ini").write_text("[pytest]\n")
    plain = machines.run(machines.Setting("none", {}), arguments, SEEN)
    assert (plain.passed, plain.failed) == (2, 0), plain
    row = machines.run(setting, arguments, SEEN)
    assert (row.passed, row.failed) == (1, 1), row
    assert row.failures == ["test_written::test_that_depends_on_the_processor"]
    assert "| 1 | 1 | 0 |" in machines.table([row])


def test_tests_that_cannot_run_are_a_failure(tmp_path):
    row = machines.run(machines.Setting("none", {}), [str(tmp_path / "missing.py")], SEEN)
    assert row.failed == 1
    assert "pytest ended with" in row.failures[0]


def test_a_setting_that_no_library_hears_does_not_count():
    by_name = {one.name: one for one in machines.settings()}
    openblas = by_name["OPENBLAS_CORETYPE=Prescott"]
    assert openblas.shows(SEEN | {"openblas": "Katmai"})
    assert not openblas.shows(SEEN | {"openblas": "SkylakeX"})
    for one in by_name.values():
        if one.sees != ("numpy",):
            assert not one.shows(SEEN), one.name
    assert "| NO |" in machines.table([machines.Row("x", "openblas SkylakeX", False)])


def test_a_probe_sees_what_is_set():
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    kernels, threads = (
        machines.probe(one) for one in (machines._aten("default"), machines._threads(2))
    )
    assert (kernels["threads"], threads["threads"]) == ("1", "2")
    assert kernels["aten"] == "DEFAULT"


def test_only_the_settings_variables_are_changed(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Zen")
    monkeypatch.setenv("HOME", "/there")
    told = machines.environment(machines._aten("avx2"))
    assert told["ATEN_CPU_CAPABILITY"] == "avx2"
    assert told["OMP_NUM_THREADS"] == "1"
    assert "OPENBLAS_CORETYPE" not in told
    assert told["HOME"] == "/there"


def test_every_setting_and_its_sample_has_marked_tests():
    assert len({one.name for one in machines.settings()}) == len(machines.settings()) >= 16
    assert len(machines.sample()) == 2
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "machine"]
    done = subprocess.run(command, cwd=machines.ROOT, capture_output=True, text=True)
    files = {
        Path(line.partition("::")[0]).name for line in done.stdout.splitlines() if "::" in line
    }
    assert {"test_parity.py", "test_verdict.py", "test_truth.py"} <= files


def test_a_setting_leaves_out_only_what_it_cannot_touch(tmp_path):
    names = [
        "numpy-loop",
        "torch-rnn",
        "torch-cell",
        "jax-scan",
        "flax-rnn",
        "numpy-loop-torchs",
        "x",
    ]
    file = tmp_path / "test_written.py"
    file.write_text(
        f"import pytest\n\n@pytest.mark.parametrize('name', {names})\ndef test_it(name): pass\n"
    )
    (tmp_path / "none.ini").write_text("[pytest]\n")
    arguments = [str(file), "-n", "0", "-c", str(tmp_path / "none.ini"), "--rootdir", str(tmp_path)]
    expected = {machines.OF_NUMPY: 3, machines.OF_TORCH: 4, machines.OF_JAX: 3, "": len(names)}
    for tests, count in expected.items():
        row = machines.run(machines.Setting("none", {}, tests=tests), arguments, SEEN)
        assert (row.passed, row.failed) == (count, 0), tests


def test_every_implementation_is_named_by_a_library():
    words = " or ".join(machines.NAMED.values()).split(" or ")
    for name in registered():
        # Not those that run on cards alone; nor tract, whose name is in that of "contract".
        if "triton" not in name and "graph" not in name and name != "tract":
            assert any(word in name for word in words), name
