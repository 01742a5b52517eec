"""The package as it is installed: what the wheel holds, and what works without extras."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", str(folder), str(ROOT)], check=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_both_packages_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"recurrences", "rnnparity"}
    assert "rnnparity/data/digits.safetensors" in names
    assert "recurrences/py.typed" in names
    assert "rnnparity/py.typed" in names


@pytest.fixture
def python(wheel, tmp_path):
    """An interpreter with the wheel, without extras."""
    venv.create(tmp_path / "new", with_pip=True)
    python = tmp_path / "new" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", str(wheel)], check=True)
    return python


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
