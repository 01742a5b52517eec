"""What a resumed run takes over: what would come out the same, and nothing else."""

import json

import msgspec
import pytest

import rnnparity
from rnnparity.errors import UsageError
from rnnparity.implementations import sources
from rnnparity.implementations.registry import Spec
from rnnparity.problems.presets import preset
from rnnparity.records import files
from rnnparity.runs.resuming import identity

CASES = [case for case in preset("quick") if case.dtype == "float64"][:3]

PORT = """
import numpy as np
framework = "numpy"
gradients = False


def layer(x, h0, cell, nonlinearity):
    h, output = h0, []
    for x_t in x:
        h = np.tanh(x_t @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh)
        output.append(h)
    return np.stack(output), h
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of a user's: an implementation, what it imports of it, and what it does not."""
    folder = tmp_path / "ofmine"
    (folder / "inner").mkdir(parents=True)
    contents = {
        "__init__.py": "raise RuntimeError('nobody is to import this')",
        "port.py": "import numpy\nfrom .inner import further\nfrom ofmine import beside\n",
        "beside.py": "import jax",
        "inner/__init__.py": "",
        "inner/further.py": "from .. import last",
        "last.py": "",
        "other.py": "import torch",
    }
    for name, text in contents.items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return folder


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        *(("port.py", True), ("beside.py", True), ("inner/further.py", True), ("last.py", True)),
        *(("__init__.py", True), ("inner/__init__.py", True), ("other.py", False)),
    ],
)
def test_what_an_implementation_is_made_of(package, name, counts):
    before = sources.of_module("ofmine.port:layer")
    path = package / name
    path.write_text(path.read_text() + "\n# changed")
    assert (sources.of_module("ofmine.port:layer") != before) == counts


def test_what_is_imported_by_a_call_belongs_to_it():
    code = b"import importlib\nkeras = importlib.import_module('numpy')\nimport_module(name)"
    assert " numpy " in sources.fingerprint({"port.py": code})
    assert "numpy" not in sources.fingerprint({"port.py": code.replace(b"_module(", b"_other(")})


def test_the_versions_of_what_it_imports_belong_to_it(package, monkeypatch):
    versions = {"numpy": "1", "jax": "2", "jaxlib": "3", "torch": "4"}
    monkeypatch.setattr(sources, "version_of", lambda name: versions.get(name, ""))
    before = sources.of_module("ofmine.port")
    assert before.split(" ", 1)[1] == "jax 2 jaxlib 3 numpy 1"
    versions["torch"] = "5"  # it does not import it
    assert sources.of_module("ofmine.port") == before
    versions["jaxlib"] = "4"
    assert sources.of_module("ofmine.port") != before


def test_a_builtin_one_is_known_by_its_source():
    told = identity(Spec("numpy-loop", "recurrences.elman.numpy_loop"))
    assert told.startswith("recurrences.elman.numpy_loop ")
    assert " numpy " in told
    assert sources.of_module("recurrences.elman.triton_fused") != sources.of_module(
        "recurrences.elman.triton_kernel"
    )


def test_a_module_that_is_not_there_is_no_error_yet():
    assert sources.of_module("nowhere.at.all") == sources.of_module("nowhere.else")


def made(folder, *names, cases=CASES, **options):
    run = rnnparity.check(*names, cases=cases, out=folder / "run", **options)
    return run, list(files.read(folder / "run"))


def rewritten(folder, change):
    path = folder / "run" / files.RECORDS
    lines = [change(json.loads(line)) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def port(tmp_path):
    path = tmp_path / "port.py"
    path.write_text(PORT)
    return path


def test_what_was_recorded_of_another_version_is_made_again_and_all_else_kept(tmp_path, port):
    other = tmp_path / "other.py"
    other.write_text(PORT)
    _, first = made(tmp_path, port, other)
    port.write_text(PORT.replace("np.tanh", "2 * np.tanh"))
    # The other is not named; it is known as it was all the same.
    run, second = made(tmp_path, port, resume=True)
    assert run.notes == ["port has changed since: 3 records from before no longer count"]
    of = {name: [r for r in second if r.implementation == name] for name in ("port", "other")}
    assert {r.verdict for r in of["port"]} == {"fail"}
    assert of["other"] == [r for r in first if r.implementation == "other"]
    other.write_text(PORT.replace("np.tanh", "3 * np.tanh"))
    run, third = made(tmp_path, other, resume=True)
    assert "other has changed since" in run.notes[0]
    assert {r.verdict for r in third} == {"fail"}
    assert len(third) == 6


def test_what_is_not_tried_again_is_kept_even_if_it_broke(tmp_path, port):
    """An error of what is not in the plan stays: nobody would make it again."""
    broken = tmp_path / "broken.py"
    broken.write_text(PORT.replace("h, output = h0, []", "raise RuntimeError('no')"))
    made(tmp_path, port, broken)
    _, second = made(tmp_path, port, resume=True)
    assert [r.verdict for r in second if r.implementation == "broken"] == ["error"] * 3
    _, third = made(tmp_path, broken, cases=CASES[:1], resume=True)
    assert len(third) == len({r.id for r in third}) == 6
    broken.write_text(PORT)
    run, fourth = made(tmp_path, port, broken, resume=True)
    assert run.passed
    assert len(fourth) == 6


def test_another_case_of_the_same_name_is_another_case(tmp_path, port):
    made(tmp_path, port)
    lines = (tmp_path / "run" / files.RECORDS).read_text().splitlines()

    def older(record):
        if record["case"] == CASES[0].id:
            record["definition"]["seed"] = 7  # as an older version may have meant it
        return record

    rewritten(tmp_path, older)
    run, again = made(tmp_path, port, resume=True)
    assert len(again) == len(lines)
    assert {r.definition for r in again} == set(CASES)
    assert run.passed


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("source", "0123", "made with another rnnparity"),
        ("settings", {"threads": 2}, "made with another threads"),
        ("variables", {"OMP_NUM_THREADS": "7"}, "OMP_NUM_THREADS in the environment"),
    ],
)
def test_what_changes_everything_is_refused(tmp_path, port, key, value, told):
    _, first = made(tmp_path, port)
    path = tmp_path / "run" / files.ENVIRONMENT
    environment = msgspec.json.decode(path.read_bytes())
    old = environment[key]
    environment[key] = old | value if isinstance(old, dict) else value
    path.write_bytes(msgspec.json.encode(environment))
    with pytest.raises(UsageError, match=told):
        made(tmp_path, port, resume=True)
    assert list(files.read(tmp_path / "run")) == first
    del environment[key]  # as in a run from before it was told
    environment.pop("user_variables")
    path.write_bytes(msgspec.json.encode(environment))
    assert made(tmp_path, port, resume=True)[1] == first
