"""What all tests share: a numeric environment set before any framework is imported.

A user's own variables are kept: `machines.py` runs the tests under those of other machines.
"""

import os
import subprocess
import sys
from pathlib import Path

from rnnparity.implementations.settings import Settings, threads_given

os.environ.update(Settings(threads=threads_given()).environment_variables())

import pytest

from rnnparity.conformance.evaluation import border, evaluate, find_device, loaded, reference_of

__all__ = ["border", "evaluate", "find_device", "loaded", "reference_of"]


# Of the matrix one case in so many is enough to run it under every setting of `machines.py`.
ONE_IN = 9


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark a sample of the matrix, which is the largest of what `machines.py` runs."""
    matrix = [
        item for item in items if item.originalname == "test_implementation_agrees_with_the_truth"
    ]
    for item in [item for item in matrix if "-cpu-" in item.name][::ONE_IN]:
        item.add_marker("machine")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", str(folder), str(Path(__file__).parents[1])], check=True)
    (path,) = folder.glob("*.whl")
    return path
