"""What README and docs claim in tables comes from the committed runs."""

import json
import re
import runpy
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

RESULTS = Path(__file__).parents[1] / "results"
TABLES = runpy.run_path(str(RESULTS / "tables.py"))
CARD_TABLES = runpy.run_path(str(RESULTS / "card_tables.py"))["tables"]
VARIANTS = runpy.run_path(str(RESULTS / "variants.py"))
NEWTON = RESULTS / "reference-newton/newton.md", RESULTS.parent / "docs/newton.svg"
# How tables of figures begin.
FIRST = (
    *(
        "| T,B,I,H |",
        "| T,B,H |",
        "| forward |",
        "| gradients |",
        "| graph |",
        "| B |",
        "| checked |",
    ),
    *("| rule |", "cpu: largest error"),
)
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
        if line.startswith(FIRST):
            above = lines[number - 2 - (lines[number - 1] == "```")]
            assert above.startswith(KINDS)


def ends_in_text(text):
    """Return the lines right below a table, which Markdown takes for a row of it."""
    pairs = pairwise(text.splitlines())
    return [line for above, line in pairs if above.startswith("|") and line and line[0] != "|"]


@pytest.mark.parametrize(
    "document", [*TABLES["DOCUMENTS"], RESULTS / "README.md"], ids=lambda path: path.name
)
def test_below_a_table_stands_an_empty_line(document):
    assert not ends_in_text(document.read_text(encoding="utf-8"))


def test_a_list_right_below_a_table_is_noticed():
    assert ends_in_text("| a |\n| --- |\n| b |\n- c\n") == ["- c"]


@pytest.mark.parametrize(
    "path", sorted(RESULTS.glob("*/kernels.jsonl")), ids=lambda path: path.parent.name
)
def test_tables_of_a_card_are_of_its_rows(path):
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    assert text.splitlines() == list(CARD_TABLES(rows)), "run: python results/card_tables.py"


def time(name, mode, us, T=256, **more):
    sizes = {"T": T, "B": 1, "H": 64}
    return {"phase": "time", "impl": name, "mode": mode, "us": us, "least": us - 1, **sizes} | more


def test_tables_of_a_card():
    machine = dict.fromkeys(("card", "torch", "cuda", "cudnn", "triton"), "one")
    check = {"phase": "check", "impl": "triton-fused", "error": 2e-7, "ok": True}
    rows = [
        {"phase": "machine", **machine},
        check,
        check | {"error": 0.5, "ok": False},
        time("torch.nn.RNN", "forward", 512.0, most=600.0),
        time("triton-fused", "forward", 128.0),
        time("triton-fused", "forward", 1.0, layout=[64, 8, 2]),
        time("torch-graph", "forward", 256.0),
        time("torch-loop", "forward", 1024.0),
        time("triton-fused", "gradients", 100.0, T=1024),  # its baseline was wrong
    ]
    rows[4]["plan"] = [1, 1, 1, 64, 4, 16, 2]
    lines = list(CARD_TABLES(rows))
    assert "| triton-fused | float32 | tanh | 2 | 1 | 5.0e-01 |" in lines
    assert "| 256,1,64 | 512.0 us | 2.00 us | 4.00 | 2.00 | 0.50 |" in lines
    assert "| 256,1,64 | forward | 4.00 | 1.00 | 4.00 |" in lines
    times = "512.0 (511.0 to 600.0) | 128.0 (127.0 at least)"
    assert any(times in line for line in lines)
    assert "| 1024,1,64 | gradients | - | 100.0 (99.0 at least) | - | - |" in lines
    assert "| 256,1,64 | 64,8,2 | 1.0 | - |" in lines
    assert "| 256,1,64 | 64,16,2, chosen | 128.0 | - |" in lines


def test_a_table_of_a_card_whose_figure_was_changed_is_noticed():
    path = RESULTS / "nvidia-h100-80gb-hbm3" / "kernels.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    next(row for row in rows if row["phase"] == "time")["us"] /= 2
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    assert text.splitlines() != list(CARD_TABLES(rows))


def points(picture):
    """Return what each point of a picture says it is; where it lies depends on the fonts, too."""
    return {*re.findall(r'aria-label="(time steps, [^"]*)"', picture)}


def test_the_picture_of_newton_is_of_its_table():
    drawn = runpy.run_path(str(RESULTS / "newton_picture.py"))["drawn"]
    table, picture = (path.read_text(encoding="utf-8") for path in NEWTON)
    other = table.replace("| 0.80 (", "| 0.81 (", 1)
    assert other != table
    assert len(points(picture)) == len(re.findall(r"^\| \d", table, re.M))
    assert points(drawn(table)) == points(picture) != points(drawn(other)), "see results/README.md"


def outside(document):
    """Return what a page links to in the tree that the site made of `docs` does not have."""
    docs = RESULTS.parent / "docs"
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    found = [(document.parent / link).resolve() for link in links]
    return [str(path) for path in found if docs not in path.parents or not path.exists()]


@pytest.mark.parametrize(
    "document", sorted((RESULTS.parent / "docs").glob("*.md")), ids=lambda path: path.name
)
def test_a_page_links_to_what_the_site_has(document):
    assert outside(document) == []


def test_a_link_out_of_the_site_is_noticed(tmp_path):
    (tmp_path / "page.md").write_text("![it](../results/reference-newton/newton.md)", "utf-8")
    assert len(outside(tmp_path / "page.md")) == 1


def private(text):
    """Return the paths of a machine in what a run left."""
    return re.findall(r"/(?:work|tmp|root|home|opt|usr|Users)/[^\s\"]*", text)


@pytest.mark.parametrize(
    "path", sorted(RESULTS.glob("*-*/**/*.json*")), ids=lambda path: path.parent.name
)
def test_runs_have_no_paths_of_a_machine(path):
    assert not private(path.read_text(encoding="utf-8"))


def test_a_path_of_a_machine_is_noticed():
    assert private('{"command": "rnnparity check --out /home/me/run"}') == ["/home/me/run"]


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


def test_project_citation_and_action_name_one_repository_and_version():
    root = RESULTS.parent
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert [cited["version"], cited["license"]] == [project["version"], project["license"]]
    home = cited["repository-code"]
    urls = project["urls"]
    assert urls["Source"] == home
    used = re.search(r"uses: (rnnparity/\S+)@(\S+)", (root / "docs/ci.md").read_text("utf-8"))
    assert home == f"https://github.com/{used[1]}"
    for name, kind, path in [
        ("Documentation", "tree", "docs"),
        ("Changelog", "blob", "CHANGELOG.md"),
    ]:
        assert urls[name] == f"{home}/{kind}/{used[2]}/{path}"
        assert (root / path).exists()
    assert f"## {project['version']}" in (root / "CHANGELOG.md").read_text(encoding="utf-8")
