"""What README and docs claim in tables comes from the committed runs."""

import re
import runpy
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[1] / "results"
TABLES = runpy.run_path(str(RESULTS / "tables.py"))
VARIANTS = runpy.run_path(str(RESULTS / "variants.py"))
KINDS = tuple(f"<!-- {kind} " for kind in TABLES["KINDS"])


@pytest.mark.parametrize("document", TABLES["DOCUMENTS"], ids=lambda path: path.name)
def test_tables_are_those_of_the_runs(document):
    text = document.read_text(encoding="utf-8")
    assert TABLES["updated"](text) == text, "run: python results/tables.py"


@pytest.mark.parametrize("row", [r"\| 64,1,32,32 \|.*", r" 64,1,32,32 .*", r"\| `np.allclose`.*"])
def test_a_figure_that_no_run_measured_is_noticed(row):
    text = (RESULTS.parent / "README.md").read_text(encoding="utf-8")
    better = re.sub(row, lambda found: re.sub(r"\d\S*(?=\D*$)", "99.9", found[0]), text, count=1)
    assert better != text
    assert TABLES["updated"](better) == text


@pytest.mark.parametrize("document", TABLES["DOCUMENTS"], ids=lambda path: path.name)
def test_a_table_of_figures_names_its_run(document):
    """One whose comment is missing or misspelt would be nobody's."""
    lines = document.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if line.startswith(("| T,B,I,H |", "| rule |", "cpu: largest error")):
            above = lines[number - 2 - (lines[number - 1] == "```")]
            assert above.startswith(KINDS)


@pytest.mark.parametrize(
    ("implementation", "variant"),
    [(name, variant) for name, variants in VARIANTS["VARIANTS"].items() for variant in variants],
)
def test_variants_are_of_the_implementations_as_they_are(implementation, variant):
    compile(VARIANTS["source"](implementation, variant), variant, "exec")


def test_a_variant_of_what_is_no_more_is_noticed(monkeypatch):
    monkeypatch.setitem(VARIANTS["VARIANTS"]["numpy_loop"], "old", {"np.loop_of_old": ""})
    with pytest.raises(ValueError, match=r"numpy_loop\.py does not have 'np.loop_of_old'"):
        VARIANTS["source"]("numpy_loop", "old")
