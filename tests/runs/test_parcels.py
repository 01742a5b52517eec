"""No task holds a path of this machine: a worker without the files does it all the same."""

import os
import pickle
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from rnnparity import UsageError
from rnnparity.cells.config import RNNConfig, parameter_shapes
from rnnparity.implementations import neighbours
from rnnparity.implementations.registry import Spec, resolve, resolve_all
from rnnparity.implementations.settings import Settings
from rnnparity.problems import weights
from rnnparity.problems.cases import Case
from rnnparity.problems.given import Sequences, Weights
from rnnparity.runs import parcels, plan, work
from rnnparity.runs.check import check
from rnnparity.runs.plan import Plan
from rnnparity.runs.processes import Worker, WorkerLost, fresh_process

CONFIG = RNNConfig(input_size=3, hidden_size=4)
OWN = ("beside", "further", "pkg")
CASE = Case(config=CONFIG, T=5, B=2)

STEP = """
import numpy as np
def step(x_t, h, cell):
    return SIGN * np.tanh(
        x_t @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh
    )
"""
PORT = """
import numpy as np
from beside import step
framework = "numpy"
nonlinearities = ("tanh",)
def layer(x, h0, cell, nonlinearity):
    h, output = h0, []
    for x_t in x:
        h = step(x_t, h, cell)
        output.append(h)
    return np.stack(output), h
"""


@pytest.fixture(autouse=True)
def no_module_stays():
    """Threads import into this process."""
    path = list(sys.path)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in OWN]:
        del sys.modules[name]
    sys.path[:] = path


def port(folder, sign="1", name="port.py"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "beside.py").write_text(STEP.replace("SIGN", sign))
    (folder / name).write_text(PORT)
    return folder / name


class Kept:
    """An executor of one worker; what it is sent is kept."""

    def __init__(self, tasks, *args):
        super().__init__(1, *args)
        self.tasks = tasks

    def submit(self, noted, function, /, *args):
        self.tasks.append((function, pickle.dumps((function, *args)), args[1:]))
        return super().submit(noted, function, *args)


class Process(Kept, ProcessPoolExecutor):
    """A process that was told nothing."""


class Thread(Kept, ThreadPoolExecutor):
    """As good as a process elsewhere where the files have been moved away."""


def told(run):
    return {record.implementation: (record.verdict, record.reason) for record in run.records}


def test_a_worker_elsewhere_has_the_users_file_its_neighbour_weights_and_inputs(tmp_path):
    """The user's folders are gone before a worker begins, and it knows nothing of the run's."""
    mine = port(tmp_path / "mine"), port(tmp_path / "other", sign="-1")
    rng = np.random.default_rng(0)
    arrays = {n: rng.normal(size=s).astype("f4") for n, s in parameter_shapes(CONFIG).items()}
    weights.write(tmp_path / "mine" / "w.safetensors", arrays)
    (tmp_path / "elsewhere").mkdir()
    run, x = tmp_path / "run", rng.normal(size=(6, 2, 3))
    given = Weights(tmp_path / "mine" / "w.safetensors")
    cases, _ = plan.weights_cases(given, Sequences(x), run, None, Settings())
    specs = plan.specs(list(mine))
    assert [spec.name for spec in specs] == ["mine/port.py", "other/port.py"]
    planned = Plan(specs=specs, cases=tuple(cases[:1]), directory=run)
    for folder in ("mine", "other"):
        (tmp_path / folder).rename(tmp_path / f"{folder}-is-away")
    workers = []

    def start(*_):
        workers.append([])
        return Process(workers[-1], get_context("spawn"), os.chdir, (tmp_path / "elsewhere",))

    made = check(planned, start=start)
    tasks = [task for worker in workers for task in worker]
    right, wrong = (told(made)[spec.name] for spec in specs)
    assert right[0] == "pass", right
    assert wrong[0] == "fail", wrong
    assert made.environment["implementations"].keys() == {"mine/port.py", "other/port.py"}
    assert all(one.startswith("port.py ") for one in made.environment["implementations"].values())
    local = str(tmp_path).encode()
    assert [function for function, task, _ in tasks if local in task] == []
    planted = pickle.dumps((work.run_case, specs[0], cases[0]))
    assert planted.count(local) == 3  # the target, the weights and the inputs
    for worker in workers:  # each was sent what it lacked once, and most tasks carry nothing
        last = [sent[-1].label for *_, sent in worker if sent]
        assert len(last) == len({*last}) <= 3
    assert sum(1 for *_, sent in tasks if sent) < len(tasks) / 2


def moved(tmp_path, *paths, case=CASE):
    """Plan, move all the files away, and check in a thread."""
    specs = resolve_all([str(path) for path in paths])
    planned = Plan(specs=tuple(specs), cases=(case,), directory=tmp_path / "run")
    for folder in {path.parent for path in paths}:
        folder.rename(folder.with_name(f"{folder.name}-is-away"))
    tasks = []
    run = check(planned, start=lambda *_: Thread(tasks))
    assert not any(str(tmp_path).encode() in task for _, task, _ in tasks)
    return told(run)


@pytest.mark.parametrize("name", ["mein häßlicher Port.py", "移植 %s $HOME.py", f"{'n' * 250}.py"])
def test_names_are_as_users_write_them(tmp_path, name):
    path = port(tmp_path / "Ordner mit Blank ü", name=name)
    assert moved(tmp_path, path) == {path.stem: ("pass", "")}


def test_what_is_wrong_with_a_file_names_the_file(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "table.npy").write_bytes(b"")
    texts = {
        "syntax": ("framework = = 1\n", "SyntaxError", "syntax.py"),
        "reads": (
            "from pathlib import Path\nPath(__file__).with_name('table.npy').read_bytes()\n",
            "FileNotFoundError",
            "/sent-with-reads.py-",
        ),
        "relative": ("from . import beside\n", "attempted relative import", "(relative.py:1)"),
        "raises": ("1 / 0\n", "ZeroDivisionError", "(raises.py:1)"),
        "nulls": ("a = 1\0\n", "null bytes", ""),
        "lacks": ("import not_there_at_all\n", "not_there_at_all is not installed", ""),
        "named": ("import importlib\nimportlib.import_module('table')\n", "table", ""),
    }
    paths = []
    for name, (text, *_) in texts.items():
        paths.append(folder / f"{name}.py")
        paths[-1].write_text(text)
    found = moved(tmp_path, *paths)
    for name, (_, *expected) in texts.items():
        verdict, reason = found[name]
        assert verdict in ("error", "absent")
        assert "\n" not in reason
        for part in expected:
            assert part in reason, reason


def test_a_package_beside_a_file_comes_whole_and_nothing_else_does(tmp_path):
    folder = port(tmp_path / "mine").parent
    (folder / "pkg" / "inner").mkdir(parents=True)
    (folder / "pkg" / "__init__.py").write_text("")
    (folder / "pkg" / "data.bin").write_bytes(b"no code")
    (folder / "pkg" / "inner" / "__init__.py").write_text("from ..core import step\n")
    (folder / "pkg" / "core.py").write_text(
        "def late():\n    import further, space.further\nfrom beside import step\n"
    )
    (folder / "further.py").write_text("")
    (folder / "secret.py").write_text("password = 'x'\n")
    (folder / "numpy.py").write_text("1 / 0\n")  # a library is not hidden
    (folder / "space").mkdir()
    (folder / "space" / "further.py").write_text("")
    (folder / "port.py").write_text(PORT.replace("from beside", "from pkg.inner"))
    found = {
        str(path.relative_to(folder)) for path, _ in neighbours.with_imports(folder / "port.py")
    }
    assert found == {
        *("port.py", "beside.py", "further.py", "space/further.py"),
        *("pkg/__init__.py", "pkg/core.py", "pkg/inner/__init__.py"),
    }
    assert moved(tmp_path, folder / "port.py") == {"port": ("pass", "")}


@pytest.mark.parametrize("much", ["bytes", "files"])
def test_too_much_is_refused_where_it_would_be_sent_and_only_there(tmp_path, monkeypatch, much):
    path = port(tmp_path / "mine")
    if much == "bytes":
        monkeypatch.setattr(neighbours, "MOST_BYTES", 400)
    else:
        (path.parent / "beside.py").rename(path.parent / "within.py")
        (path.parent / "beside").mkdir()
        monkeypatch.setattr(neighbours, "MOST_ENTRIES", 3)
        for i in range(3):
            (path.parent / "beside" / f"m{i}.txt").write_text("")
        text = STEP.replace("SIGN", "1")
        (path.parent / "beside" / "__init__.py").write_text(text)
    planned = Plan(specs=(resolve(str(path)),), cases=(CASE,), directory=tmp_path / "run")
    assert check(planned).passed
    with pytest.raises(UsageError, match=r"port\.py cannot be sent to a worker: .*beside"):
        moved(tmp_path / "again", path)


def test_what_was_planned_is_run_and_recorded(tmp_path):
    """A file changed after it, or one that it imports: in processes here."""
    path = port(tmp_path / "mine")
    for other in (path, path.with_name("beside.py")):
        text = other.read_text()
        planned = Plan(specs=(resolve(str(path)),), cases=(CASE,), directory=tmp_path / other.stem)
        other.write_text(
            text.replace("h, output = h0", "h, output = 0 * h0").replace("1 * ", "2 * ")
        )
        assert other.read_text() != text
        run = check(planned)
        assert run.passed, told(run)
        other.write_text(text)
        again = Plan(
            specs=planned.specs, cases=(CASE,), directory=tmp_path / other.stem, resume=True
        )
        assert len(check(again).records) == 1


def test_what_lies_beside_an_unchanged_file_is_there_for_processes_here(tmp_path):
    """Two files that hold the same are two, since what they read beside them may differ."""
    paths = [port(tmp_path / folder) for folder in ("a", "b")]
    for path, sign in zip(paths, ("1", "-1"), strict=True):
        text = (
            "from pathlib import Path\nSIGN = int(Path(__file__).with_name('sign').read_text())\n"
        )
        path.write_text(text + PORT.replace("h = step", "h = SIGN * step"))
        path.with_name("sign").write_text(sign)
    specs = tuple(resolve_all([str(path) for path in paths]))
    for start in (fresh_process, lambda *_: ThreadPoolExecutor(1)):
        run = check(
            Plan(specs=specs, cases=(CASE,), directory=tmp_path / str(id(start))), start=start
        )
        assert [told(run)[spec.name][0] for spec in specs] == ["pass", "fail"]


def test_modules_stay_names():
    for target in ("pkg.mod", "pkg.mod:attribute", "recurrences.elman.numpy_loop"):
        spec = Spec("name", target)
        packed = parcels.pack((spec,), {})
        assert not packed.originals
        assert parcels.call(lambda spec: spec, packed.data) == spec


@pytest.mark.parametrize("asked", ["another", "again"])
def test_a_worker_that_asks_for_what_it_should_not_is_lost(tmp_path, monkeypatch, asked):
    path = port(tmp_path / "mine")

    def call(function, packed, *sent):
        raise parcels.Lacking("0" * 64 if asked == "another" else digest)

    spec = resolve(str(path))
    (digest,) = parcels.pack((spec,), {}).originals
    monkeypatch.setattr(parcels, "call", call)
    worker = Worker(Settings(), tmp_path / "log", lambda *_: ThreadPoolExecutor(1))
    with pytest.raises(WorkerLost, match="asked for a file that is not lacking"):
        worker.call(60, work.describe, spec, Settings())


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_workers_folder_is_its_own_and_goes_with_it(method):
    """In a process that is forked off a clean one, since frameworks here have threads."""
    code = (
        "import os, stat; from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "from rnnparity.runs.parcels import _own_folder\n"
        "if __name__ == '__main__':\n"
        f"    with ProcessPoolExecutor(1, get_context({method!r})) as pool:\n"
        "        theirs = pool.submit(_own_folder).result()\n"
        "        assert stat.S_IMODE(os.stat(theirs).st_mode) == 0o700\n"
        "    print(theirs); print(_own_folder())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    theirs, own = done.stdout.split()
    assert theirs != own
    assert not Path(theirs).exists()
    assert not Path(own).exists()


def test_threads_that_start_workers_at_once_have_one_folder(tmp_path, monkeypatch):
    made = []

    def slow(prefix):
        time.sleep(0.1)
        made.append(str(tmp_path))
        return made[-1]

    monkeypatch.setattr(parcels, "_folder", [])
    monkeypatch.setattr(tempfile, "mkdtemp", slow)
    with ThreadPoolExecutor(4) as pool:
        assert (
            len({folder for _, folder in pool.map(lambda _: parcels.for_workers(), range(4))}) == 1
        )
    assert len(made) == 1
