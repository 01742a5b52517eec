"""A module that is no implementation is told which name it lacks."""

import re
from pathlib import Path

import pytest
from conftest import evaluate, find_device

from rnnparity.implementations import contract
from rnnparity.implementations.registry import Spec, resolve_all
from rnnparity.problems import presets

GOOD = "framework = 'numpy'\ndef layer(x, h0, cell, nonlinearity): ..."


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "framework is None, expected one of numpy, jax, torch"),
        ("framework = 'tensorflow'", "framework is 'tensorflow'"),
        ("framework = 'numpy'", "neither layer"),
        (GOOD + "\ndef rnn(*a): ...", "both layer and rnn"),
        ("framework = 'numpy'\ndef layer(x, h0): ...", r"layer\(x, h0\) does not take"),
        ("framework = 'numpy'\nlayer = 3", "layer is a int"),
        (GOOD + "\ndtypes = ('float8',)", "dtypes is"),
        (GOOD + "\ndtypes = 'float32'", "dtypes is 'float32', expected a tuple"),
        ("raise RuntimeError('boom')", "does not import: raises RuntimeError: boom"),
        ("def f(:", "does not import: raises SyntaxError"),
        ("import rnnparity.no_such_module", "does not import: No module named"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, source, message):
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(contract.BrokenImplementation, match=message):
        contract.load(Spec("mine", str(path)))


def test_a_package_that_is_not_installed_makes_it_absent_not_broken(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("import no_such_package_anywhere\n" + GOOD)
    with pytest.raises(contract.Absent, match="pip install no_such_package_anywhere"):
        contract.load(Spec("mine", str(path)))


def test_defaults(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(GOOD)
    implementation = contract.load(Spec("mine", str(path)))
    assert implementation.support.dtypes == ("float64", "float32")
    assert implementation.support.nonlinearities == ("tanh", "relu")


def test_two_files_of_one_name_keep_apart(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(GOOD)
    specs = resolve_all([str(tmp_path / "a" / "mine.py"), str(tmp_path / "b" / "mine.py")])
    assert len({spec.name for spec in specs}) == 2


def test_neighbours_of_one_name_are_each_files_own(tmp_path):
    """A module, a package, and a folder without `__init__`; in whichever order they are loaded."""
    for folder in ("a", "b"):
        for inner, file in (("", "beside1"), ("beside2", "__init__"), ("beside3", "inner")):
            (tmp_path / folder / inner).mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / inner / f"{file}.py").write_text(f"own = {folder!r}\n")
        (tmp_path / folder / "numpy.py").write_text("1 / 0\n")
        (tmp_path / folder / "mine.py").write_text(
            "import beside1, beside2, beside3.inner, numpy\n"
            "dtypes = {'a': ('float32',), 'b': ('float64',)}[beside1.own]\n"
            "assert beside1.own == beside2.own == beside3.inner.own\n" + GOOD
        )
    for folder in "abba":
        spec = Spec(folder, str(tmp_path / folder / "mine.py"))
        expected = {"a": ("float32",), "b": ("float64",)}[folder]
        assert contract.load(spec).support.dtypes == expected
        with contract.loaded_anew(spec) as anew:
            assert anew.support.dtypes == expected


PAGE = (Path(__file__).parents[2] / "docs" / "contract.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(
    r"```python\n(import .*?)```", PAGE.partition("## Complete examples")[2], re.DOTALL
)


def test_the_page_has_an_example_per_framework():
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize("example", EXAMPLES, ids=("numpy", "jax", "torch"))
def test_examples_of_the_page_pass(tmp_path, example):
    path = tmp_path / "example.py"
    path.write_text(example)
    for case in presets.features():
        judgement = evaluate(str(path), find_device(str(path), "cpu"), case)
        assert judgement.verdict == "pass", judgement.reason
        assert "grad_weight_hh_l0" in judgement.quantities
