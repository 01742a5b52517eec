"""Other people's layers: what the matrix leaves out, since all of its tests share a process."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import recurrences
import rnnparity
from rnnparity.cells.config import KINDS, RNNConfig
from rnnparity.implementations import contract, registry
from rnnparity.implementations.registry import Spec, declared, is_alone
from rnnparity.problems.cases import Case

FOLDER = Path(recurrences.__file__).parent / "peers"
PAGES = [
    Spec(path.stem, f"recurrences.peers.{path.stem}", True)
    for path in sorted(FOLDER.glob("*.py"))
    if declared(Spec("", str(path)), "framework")
]
ALONE = [spec for kind in KINDS for spec in registry.registered(kind).values() if is_alone(spec)]


@pytest.mark.parametrize("spec", ALONE, ids=lambda spec: spec.name)
def test_a_peer_that_needs_a_process_of_its_own(spec, tmp_path):
    """In float32, in all that it says it does at once, and one step on."""
    config = RNNConfig(
        input_size=5,
        hidden_size=7,
        num_layers=2,
        bidirectional=True,
        batch_first=True,
        kind=spec.kind,
    )
    cases = [Case(config=config, T=6, B=3, ragged=True), Case(config=config, T=6, B=3)]
    run = rnnparity.check(spec.name, cases=cases, out=tmp_path / "run")
    if {record.verdict for record in run.records} == {"absent"}:
        pytest.skip(run.records[0].reason)
    assert [(record.verdict, record.reason) for record in run.records] == [("pass", "")] * 2


@pytest.mark.parametrize("one", ["torch", "tensorflow"])
def test_two_backends_of_keras_in_a_process_are_refused(one):
    for package in ("keras", "jax", one):
        pytest.importorskip(package) if package == "jax" else _needs(package)
    code = f"import recurrences.peers.keras_gru, recurrences.peers.keras_{one}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"on {one} it needs a process of its own" in done.stderr


def _needs(package):
    """Skip where a package is missing, which must not be imported here."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


@pytest.mark.parametrize("spec", PAGES, ids=lambda spec: spec.name)
def test_what_is_missing_is_absent_with_the_line_that_installs_it(spec, monkeypatch):
    """Also where a module that the page is made of asks for it."""
    library = spec.name.partition("_")[0]
    extra = next((e for e in ("tensorflow", "openvino") if e in spec.name), library)
    if library == "torch":
        pytest.skip("PyTorch is a framework of its own")

    for name in [m for m in sys.modules if m.partition(".")[0] in ("recurrences", extra)]:
        monkeypatch.delitem(sys.modules, name)  # a part that is imported is found without its whole
    monkeypatch.setitem(sys.modules, extra, None)  # how Python is told that there is none
    monkeypatch.setattr(contract, "_findable", lambda name: name != extra)
    with pytest.raises(contract.Absent, match=rf"{extra} is not installed: pip install 'rnnparity"):
        contract.load(spec)


def test_what_declares_no_process_shares_one():
    assert ALONE
    assert not any(is_alone(registry.resolve(name)) for name in ("torch-rnn", "numpy-loop"))
