"""The walkthrough runs from top to bottom."""

import ast
import json
import re
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parent.parent / "examples" / "walkthrough.ipynb"


def test_walkthrough(tmp_path):
    for needed in ("torch", "jax", "ipykernel"):
        pytest.importorskip(needed)
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}  # where its runs are written
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    texts = ["".join(str(o.get("data", o.get("text", ""))) for o in c.outputs) for c in cells]
    (compared,) = (c for c in cells if "np.allclose(" in c.source)
    largest, close = ast.literal_eval(compared.outputs[0].data["text/plain"])
    assert largest > 0  # they do differ, and np.allclose says so of right implementations
    assert close is False
    assert any("all three compute the recurrence" in text for text in texts)
    assert any("equals the recurrence with weight_hh transposed" in text for text in texts)
    assert any("<svg" in text for text in texts)
    assert any("the same LSTM" in text for text in texts)
    assert any("equals the recurrence with gates in the order i g f o" in text for text in texts)


def test_its_outputs_are_committed():
    """For who reads it without running it; none has a path of the machine that made them."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for cell in cells:
        only_defines = "def jax_layer" in "".join(cell["source"])
        assert bool(cell["outputs"]) != only_defines, "".join(cell["source"])
    assert not re.search(r"/(home|tmp|root|work|Users)/", json.dumps(notebook))
