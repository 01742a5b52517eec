"""Importing the package, its help and its list load no framework into the process."""

import json
import subprocess
import sys

import pytest

LOADED = "import sys; print(sorted({'torch', 'jax', 'numpy'} & set(sys.modules)))"


def _printed(code, folder=None):
    command = [sys.executable, "-c", f"{code}\n{LOADED}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    return done.stdout.splitlines()


def _loaded_after(code):
    return _printed(code)[-1]


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


def test_list_names_everything_and_loads_neither_torch_nor_jax(tmp_path):
    *printed, loaded = _printed(f"{_cli('list', '--json')}print(result.output)", tmp_path)
    assert loaded == "['numpy']"
    listed = json.loads("".join(printed))
    assert {"torch-rnn", "numpy-loop", "jax-scan", "torch-loop"} <= listed["implementations"].keys()
    assert listed["implementations"]["numpy-loop"]["devices"] == ["cpu"]
    assert {"quick", "edges", "full"} == listed["presets"].keys()
    assert {"streaming", "cpu", "gpu"} <= listed["sizes"].keys()
    assert not list(tmp_path.iterdir())


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
