"""The walkthrough runs from top to bottom."""

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
    assert any("False" in text for text in texts)  # allclose, on right implementations
    assert any("all three compute the recurrence" in text for text in texts)
    assert any("equals the recurrence with weight_hh transposed" in text for text in texts)
    assert any("<svg" in text for text in texts)
    assert any("the same LSTM" in text for text in texts)
    assert any("equals the recurrence with gates in the order i g f o" in text for text in texts)
