"""The GitHub Action: its steps, run as a runner would, but for the installation."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
CASE = "float32-torch-init-relu-T12-B4-I8-H16"


def _run(step, folder, **variables):
    environment = os.environ | {name: str(value) for name, value in variables.items()}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    (script,) = (one["run"] for one in ACTION["runs"]["steps"] if one["name"] == step)
    return subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize(("wrong", "xfail", "code"), [(0, 0, 0), (1, 0, 1), (1, 1, 0)])
def test_the_steps_check_and_summarise(tmp_path, wrong, xfail, code):
    from importlib.resources import files

    starter = files("rnnparity") / "templates" / "rnn" / "numpy.py.txt"
    text = starter.read_text(encoding="utf-8")
    (tmp_path / "mine.py").write_text(
        text.replace("np.maximum(", "1.5 * np.maximum(") if wrong else text
    )
    (tmp_path / "known.txt").write_text("mine-cpu-*-relu-*: relu is too large\n")
    summary = tmp_path / "summary.md"
    done = _run(
        "Check",
        tmp_path,
        IMPLEMENTATION="mine.py",
        ARGUMENTS=f"--case {CASE}",
        XFAIL="known.txt" if xfail else "",
    )
    assert done.returncode == code, done.stderr
    assert 'tests="1"' in (tmp_path / "rnnparity.xml").read_text()
    assert _run("Summary", tmp_path, GITHUB_STEP_SUMMARY=summary).returncode == 0
    assert "mine" in summary.read_text()


def test_every_input_is_used():
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    for name in ACTION["inputs"]:
        assert f"${{{{ inputs.{name} }}}}" in text
