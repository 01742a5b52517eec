"""Runs spread over a Dask cluster of processes on this machine: the same records as here."""

import subprocess
import sys
import threading
from contextlib import suppress

import numpy as np
import pytest
from dask_processes import processes
from distributed import Client

from rnnparity import api
from rnnparity.cells.config import RNNConfig
from rnnparity.errors import UsageError
from rnnparity.problems.cases import Case
from rnnparity.records import files
from rnnparity.verdicts import Verdict

CASES = tuple(
    Case(config=RNNConfig(input_size=3, hidden_size=4), T=5, B=2, seed=seed) for seed in range(6)
)

# In a file of its own, which imports what is beside it; slow enough to be interrupted.
OWN = """
import time
import numpy as np
import beside

framework = "numpy"

def layer(x, h0, cell, nonlinearity):
    time.sleep(beside.SECONDS)
    h, output = h0, []
    for x_t in x:
        a = x_t @ cell[0].T + cell[2] + h @ cell[1].T + cell[3]
        h = np.tanh(a) if nonlinearity == "tanh" else np.maximum(a, 0)
        output.append(h * {factor})
    return np.stack(output), h
"""


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """A scheduler and three workers, one of which says that it has a card."""
    with processes(tmp_path_factory.mktemp("cluster")) as found:
        found.worker("one")
        found.worker("two")
        found.worker("three", "--resources", "CUDA=1")
        yield found


def own_file(folder, seconds=0.0, factor=1):
    (folder / "beside.py").write_text(f"SECONDS = {seconds}\n")
    path = folder / "own.py"
    path.write_text(OWN.format(factor=factor))
    return path


def records(run):
    """Return what was found by what was checked, without where it was and how long it took."""
    found = {}
    for r in files.read(run.directory):
        assert r.id not in found, "recorded twice"
        quantities = r.quantities
        found[r.id] = (r.verdict, r.reason, quantities, r.horizon, r.diagnosis, r.definition)
    return found


def test_a_cluster_makes_the_records_of_one_machine(there, tmp_path):
    """To the last bit, right and wrong ones; the user's own files travel."""
    rng = np.random.default_rng(0)
    shapes = {"weight_ih_l0": (4, 3), "weight_hh_l0": (4, 4), "bias_ih_l0": 4, "bias_hh_l0": 4}
    weights = tmp_path / "mine.npz"
    np.savez(weights, **{n: rng.normal(size=s).astype("f4") / 2 for n, s in shapes.items()})
    wrong = own_file(tmp_path, factor=1.001)
    events = []

    def run(name, **more):
        given = {"weights": weights, "out": tmp_path / name, **more}
        return api.check("numpy-loop", "torch-rnn", wrong, **given)

    here, spread = run("here"), run("spread", cluster=str(there.file), progress=events.append)
    assert Verdict.FAIL in here.verdicts
    kept = {  # each run keeps the weights in its own folder
        key: (*rest, definition.replace(weights=""))
        for key, (*rest, definition) in records(spread).items()
    }
    assert kept == {
        key: (*rest, definition.replace(weights=""))
        for key, (*rest, definition) in records(here).items()
    }
    assert len(kept) == 3 * 7
    assert {r.host for r in here.records} == {""}
    assert {r.host for r in spread.records} == {*spread.environment["hosts"]}
    planned = {event.implementation: event.planned for event in events if event.planned}
    assert planned == {"numpy-loop": 7, "torch-rnn": 7, "own": 7}


def test_timings_of_a_job_come_from_one_machine(there, tmp_path):
    run = api.bench(
        "numpy-loop",
        size=["5,2,3,4"],
        out=tmp_path / "run",
        processes=1,
        budget=0.05,
        cluster=str(there.file),
    )
    timed = {(t.implementation, t.mode): t for t in run.timings}
    for mode in ("forward", "gradients"):
        assert timed["numpy-loop", mode].baseline == "torch-rnn"
        assert timed["numpy-loop", mode].seconds
        assert {t.host for t in run.timings if t.mode == mode} == {*run.environment["hosts"]}
    assert run.environment["timing"]["processes"] == 1
    assert run.environment["best"]["product_flop_per_second"]


def test_a_worker_that_dies_and_one_that_comes_late(tmp_path):
    """What it was doing is done by another; nothing is lost, and nothing is recorded twice."""
    (tmp_path / "cluster").mkdir()
    with processes(tmp_path / "cluster") as found:
        first = found.worker("first", "--no-nanny")
        seen = []

        def progress(event):
            if event.record is not None:
                seen.append(event)
            if len(seen) == 2 and first.poll() is None:
                found.worker("second", "--no-nanny")
                first.kill()
                first.wait()

        run = api.check(
            own_file(tmp_path, seconds=0.1),
            cases=CASES,
            out=tmp_path / "run",
            cluster=str(found.file),
            progress=progress,
        )
        assert first.poll() is not None
    assert {r.verdict for r in run.records} == {Verdict.PASS}
    assert len(records(run)) == len(CASES)


def test_a_scheduler_that_dies_costs_nothing_that_was_recorded(there, tmp_path):
    own, out = own_file(tmp_path, seconds=0.1), tmp_path / "run"
    (tmp_path / "cluster").mkdir()
    with processes(tmp_path / "cluster") as found:
        found.worker("only")
        seen = []

        def progress(event):
            seen.extend([event] * (event.record is not None))
            if len(seen) == 2:
                found.scheduler.kill()
                found.scheduler.wait()

        with pytest.raises(UsageError, match=r"is gone; [2-5] of 6 checks are recorded: give --r"):
            api.check(own, cases=CASES, out=out, cluster=str(found.file), progress=progress)
    kept = len([*files.read(out)])
    assert 2 <= kept < len(CASES)
    earlier = []

    def count(event):
        earlier.extend([event] * event.earlier)

    run = api.check(own, cases=CASES, out=out, cluster=str(there.file), resume=True, progress=count)
    assert len(earlier) == kept
    assert len(records(run)) == len(CASES)
    assert run.passed


def test_a_worker_without_rnnparity_is_left_as_it_was(there, tmp_path):
    """Sent what it cannot import, a worker of Dask ends; it may be somebody else's."""
    (tmp_path / "rnnparity").mkdir()
    no_module = "raise ModuleNotFoundError('No module named rnnparity')"
    (tmp_path / "rnnparity" / "__init__.py").write_text(no_module)
    bare = there.worker("bare", "--no-nanny", PYTHONPATH=str(tmp_path))
    with Client(scheduler_file=str(there.file), set_as_default=False) as client:
        client.wait_for_workers(4)
        run = api.check(
            "numpy-loop", cases=CASES[:2], out=tmp_path / "run", cluster=client, timeout=60
        )
        assert run.passed
        ((_, why),) = run.environment["cluster"]["unused"].items()
        assert "cannot import rnnparity" in why
        assert "pip install 'rnnparity[cli]'" in why
        assert bare.poll() is None
        assert len(client.nthreads()) == 4  # and a client that was given is not closed
    bare.terminate()
    bare.wait()


def test_ctrl_c_leaves_nothing_running(there, tmp_path):
    import psutil

    def children():
        found = []
        for process in [one for one in there.all if one.poll() is None]:
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.Error):  # it has ended meanwhile
                    if child.status() != psutil.STATUS_ZOMBIE:
                        found += ["LokyProcess"] * ("LokyProcess" in str(child.cmdline()))
        return found

    def interrupt(event):
        if event.record is not None:
            assert children()
            raise KeyboardInterrupt

    own = own_file(tmp_path, seconds=0.1)
    run = api.check(
        own, cases=CASES, out=tmp_path / "run", cluster=str(there.file), progress=interrupt
    )
    assert run.interrupted
    while children():
        threading.Event().wait(0.1)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("tcp://127.0.0.1:1", "no Dask scheduler answers at tcp://127.0.0.1:1"),
        ("nofile.json", "expected the address of a Dask scheduler"),
    ],
)
def test_no_scheduler_is_one_line_and_no_folder(given, told, tmp_path, monkeypatch):
    monkeypatch.setattr("rnnparity.runs.cluster.connecting.CONNECT_WITHIN", 0.5)
    with pytest.raises(UsageError, match=told):
        api.check("numpy-loop", cases=CASES, out=tmp_path / "run", cluster=given)
    assert not (tmp_path / "run").exists()


def test_without_dask_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(api.extras.PACKAGES, "cluster", ("distributed_that_is_not_here",))
    with pytest.raises(UsageError, match=r"pip install 'rnnparity\[cluster\]'"):
        api.check("numpy-loop", cases=CASES, out=tmp_path / "run", cluster="tcp://127.0.0.1:1")
    assert not (tmp_path / "run").exists()


def test_a_run_on_one_machine_does_not_import_dask(tmp_path):
    code = (
        "import sys; from rnnparity import api, cli; from rnnparity.timing import bench; "
        "print(sorted({'dask', 'distributed'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
