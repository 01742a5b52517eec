"""Importing the package, its help and its list load no framework into the process."""

import subprocess
import sys

import pytest

LOADED = "import sys; print(sorted({'torch', 'jax', 'numpy'} & set(sys.modules)))"


def _loaded_after(code):
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{LOADED}"], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


def _cli(*arguments):
    return (
        "from typer.testing import CliRunner\n"
        "from rnnparity.cli import app\n"
        f"result = CliRunner().invoke(app, {list(arguments)!r})\n"
        "assert result.exit_code == 0, result.output\n"
    )


@pytest.mark.parametrize("code", ["import rnnparity", "import recurrences.elman", _cli("--help")])
def test_nothing_is_loaded(code):
    assert _loaded_after(code) == "[]"


def test_list_loads_neither_torch_nor_jax():
    assert _loaded_after(_cli("list")) == "['numpy']"


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_the_check_can_fail(framework):
    pytest.importorskip(framework, reason=f"{framework} is not installed")
    code = (
        "from rnnparity.implementations.frameworks import get\n"
        f"from rnnparity.implementations.settings import Settings\nget({framework!r}, Settings())"
    )
    assert framework in _loaded_after(code)


def test_no_chart_is_drawn_until_one_is_asked_for():
    loaded = "import sys, rnnparity.api; print('altair' in sys.modules)"
    drawn = loaded.replace("rnnparity.api", "rnnparity.report.charts")
    for code, expected in ((loaded, "False"), (drawn, "True")):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.strip() == expected
