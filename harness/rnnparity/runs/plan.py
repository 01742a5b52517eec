"""What a run is to do: made by the command line and by Python alike, and checked once."""

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import Any

from rnnparity.cells.config import KINDS
from rnnparity.defaults import BUDGET, PROCESSES, TIMEOUT
from rnnparity.errors import UsageError, no_such, one_line
from rnnparity.implementations import interpreters, registry
from rnnparity.implementations.registry import Spec
from rnnparity.implementations.settings import Settings
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import NAMES, name_of
from rnnparity.problems.given import Kept, Sequences, Weights, case, keep, told
from rnnparity.problems.sizes import Job
from rnnparity.runs import elsewhere, parcels, processes
from rnnparity.runs.expected import Expected, kept, of_peers, read_expected

DEFAULT_SETTINGS = Settings()

# Processes that repeat a timing: each holds all frameworks and arrays in memory.
MOST_PROCESSES = 64

# In place of a kind of layers.
EVERY = "all"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Who is checked and timed, on what, where and how. What nobody can do is refused.

    Users' files are noted as they are when the plan is made: that is what will be run.

    Attributes:
        specs: the implementations.
        cases: what they are checked on, each on those of its kind of layers.
        jobs: what is timed of those that pass; their cases are checked, too.
        directory: the run's folder.
        preset: the name that the cases go by; None if they are the user's own.
        devices: device names or kinds ("cpu", "cuda", "cuda:1"); None for all that are found.
        settings: threads and precision of the workers.
        resume: whether the run in `directory` is gone on with.
        timeout: seconds for one case, and for an import.
        processes: how many processes repeat each timing.
        budget: seconds that the rounds of one timing take in each process, if rounds are short.
        assumed: how the user's weights and input are read, a line each.
        expected: failures that are expected.
        cluster: the Dask cluster that does the work: the address of its scheduler, the path of its
            scheduler file, or an object of Dask's. None for this machine.
    """

    specs: tuple[Spec, ...]
    cases: tuple[Case, ...]
    directory: Path
    jobs: tuple[Job, ...] = ()
    preset: str | None = None
    devices: tuple[str, ...] | None = None
    settings: Settings = DEFAULT_SETTINGS
    resume: bool = False
    timeout: float = TIMEOUT
    processes: int = PROCESSES
    budget: float = BUDGET
    assumed: tuple[str, ...] = ()
    expected: tuple[Expected, ...] = ()
    cluster: Any = None

    def __post_init__(self) -> None:
        """Refuse a plan of nothing, and no time for it.

        Raises:
            UsageError: no case or no positive number.
        """
        for name in ("timeout", "budget", "processes"):
            value = getattr(self, name)
            if not value > 0:
                told = one_line(value, 60)
                raise UsageError(f"{name} is {told}, expected more than 0")
        if self.processes > MOST_PROCESSES:
            given = one_line(self.processes, 60)
            raise UsageError(
                f"processes is {given}, expected {MOST_PROCESSES} at most: they live side by side"
            )
        if not self.all_cases:
            raise UsageError("no case is left to check: give other dtypes, cases or another preset")
        if self.cluster is not None and any(spec.python for spec in self.specs):
            raise UsageError("another Python runs on this machine: leave out the cluster, or it")
        parcels.note([*self.specs, *self.all_cases])

    @property
    def all_cases(self) -> tuple[Case, ...]:
        """What is checked: the cases, and those of the jobs."""
        return tuple(dict.fromkeys([*self.cases, *(job.case for job in self.jobs)]))

    def cases_of(self, spec: Spec) -> list[Case]:
        """What an implementation is checked on: the cases of its kind of layers."""
        return [case for case in self.all_cases if case.config.kind == spec.kind]

    @property
    def for_cluster(self) -> tuple[Any, tuple[Spec, ...], Settings, float]:
        """What `cluster.connecting.connected` is to know."""
        return self.cluster, self.specs, self.settings, self.timeout

    @property
    def names(self) -> list[str]:
        """The implementations' names."""
        return [spec.name for spec in self.specs]


def specs(
    implementations: Sequence[Any],
    peers: bool = False,
    baseline: bool = False,
    kinds: tuple[str, ...] = ("rnn",),
    python: str | Path | Mapping[str, str] | None = None,
    backends: Sequence[str] = (),
) -> tuple[Spec, ...]:
    """Return where implementations are.

    Args:
        implementations: registered names, files, or modules (themselves or by name), each also
            with the Python that runs it, `NAME@PATH`; none for all that are registered.
        peers: whether the peers come along.
        baseline: whether torch's own comes along, first, if it is registered.
        kinds: of layers: "rnn", "gru", "lstm", in this order.
        python: runs those that are named and have no other; several by registered name.
        backends: files with an ONNX runtime.

    Raises:
        UsageError: one cannot be found, or its Python cannot be used.
    """
    named = [_text(one) for one in implementations]
    by_name: dict[str, str] = {}
    if isinstance(python, Mapping):
        by_name = {name: interpreters.absolute(str(one)) for name, one in python.items()}
    elif python is not None:
        if not named:
            raise UsageError("python is given: name the implementations that it is to run")
        own = interpreters.absolute(str(python))
        named = [one if interpreters.parted(one)[1] else f"{one}@{own}" for one in named]
    if baseline and named and registry.BASELINE in registry.registered(kinds[0]):
        named.insert(0, registry.BASELINE)
    found = tuple(registry.resolve_all(named, peers, kinds, by_name, backends))
    for spec in found:
        if spec.python:
            elsewhere.look(spec.python)
    return found


def several(given: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Return one name or several as several; None if there are none."""
    if isinstance(given, str):
        return (given,)
    return tuple(given) if given else None


def devices(given: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Return devices that were asked for; None for all that are found.

    Raises:
        UsageError: one is no name of a device, here or elsewhere.
    """
    for name in (found := several(given)) or ():
        if not re.fullmatch(r"(cpu|mps|cuda)(:\d{1,4})?", name, re.ASCII):
            raise UsageError(f"device is {one_line(name, 60)!r}, expected cpu, cuda, cuda:1 or mps")
    return found


def kinds(given: str | None, implementations: Sequence[Any]) -> tuple[str, ...]:
    """Return the kinds of layers that were asked for, or that a user's own modules declare.

    Args:
        given: "rnn", "gru", "lstm" or "all"; None to find out.
        implementations: as `specs` takes them.

    Raises:
        UsageError: there is no such kind.
    """
    if given == EVERY:
        return tuple(KINDS)
    if given is not None and given not in KINDS:
        raise UsageError(no_such("cell", given, [*KINDS, EVERY]))
    if given is not None:
        return (given,)
    texts = [interpreters.parted(_text(one))[0] for one in implementations]
    own = [text for text in texts if text not in registry.registered()]
    found = [registry.kind_of(registry.resolve(text)) for text in own]
    return tuple(kind for kind in KINDS if kind in found) or ("rnn",)


def kinds_of(cases: Iterable[Case]) -> tuple[str, ...]:
    """Return the kinds of layers that cases are of."""
    found = {case.config.kind for case in cases}
    return tuple(kind for kind in KINDS if kind in found)


def expected(xfail: str | Path | None, resumed: Path | None = None) -> tuple[Expected, ...]:
    """Return the failures that are expected: a user's, and what is known of the peers.

    Args:
        xfail: the path of the user's list; None if none is given.
        resumed: the folder of the run that is gone on with, whose list is used if none is given.

    Raises:
        UsageError: it cannot be read.
    """
    if xfail is not None:
        return (*read_expected(xfail), *of_peers())
    return (*(() if resumed is None else kept(resumed)), *of_peers())


def dtypes(given: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Return dtypes that were asked for; None for all.

    Raises:
        UsageError: there is no such dtype.
    """
    listed = isinstance(given, list | tuple | set | frozenset)
    found = tuple(map(name_of, given if listed else (given,))) if given is not None else None
    for name in found or ():
        if name not in NAMES:
            raise UsageError(no_such("dtype", name, NAMES))
    return found


def in_dtypes(cases: Iterable[Case], wanted: tuple[str, ...] | None) -> tuple[Case, ...]:
    """Return the cases in these dtypes; all if None."""
    return tuple(case for case in cases if wanted is None or case.dtype in wanted)


def weights_cases(
    given: Weights,
    sequences: Sequences,
    directory: Path,
    wanted: Sequence[str] | None,
    settings: Settings,
) -> tuple[list[Case], tuple[str, ...]]:
    """Keep weights in the run's folder, and return cases on them, and how they are read, in lines.

    Args:
        given: the weights.
        sequences: an input; drawn, with further cases, if there is none.
        directory: keeps them, so that the run can be repeated.
        wanted: dtypes; one set of cases for each. None for the weights' own.
        settings: of the worker that reads a file of torch's.

    Raises:
        UsageError: the source holds no weights of a `torch.nn.RNN`, `GRU` or `LSTM`.
    """
    kept = kept_weights(given, directory, settings)
    plain = case(kept, sequences, directory)
    cases = [plain, plain.replace(invariants=True)]
    if sequences.x is None:
        cases += [
            plain.replace(h0=False),
            plain.replace(one_more_step=True),
            plain.replace(ragged=True),
            plain.replace(B=None),
            plain.replace(T=1, B=1),
        ]
    found = [case.replace(dtype=one) for one in wanted or (kept.dtype,) for case in cases]
    return found, told(kept, found[0])


def kept_weights(given: Weights, directory: Path, settings: Settings) -> Kept:
    """Keep weights in a run's folder, as `given.keep`; what only torch reads, a worker reads.

    Raises:
        UsageError: the source holds no weights of a `torch.nn.RNN`, `GRU` or `LSTM`.
    """
    if given.format == "torch":
        return _keep_in_worker(given, directory, settings)
    return keep(given, directory)


def _keep_in_worker(given: Weights, directory: Path, settings: Settings) -> Kept:
    """Only torch reads what it wrote, and torch is not imported into this process."""
    with tempfile.TemporaryDirectory() as folder:
        worker = processes.Worker(settings, Path(folder) / "worker.log")
        try:
            return worker.call(TIMEOUT, keep, given, directory)
        except processes.WorkerLost as lost:
            told = f"{given.source} could not be read: the process that read it {lost}"
            raise UsageError(told) from None
        finally:
            worker.stop()


@contextmanager
def undone(directory: Path) -> Iterator[None]:
    """Remove a folder, and those above it, if they are made in here for what cannot be done."""
    new = list(takewhile(lambda path: not path.exists(), (directory, *directory.parents)))
    try:
        yield
    except UsageError:
        for path in new[:1]:
            shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):  # what others have put there since
            for path in new[1:]:
                path.rmdir()
        raise


def new_directory(preset: str, under: Path = Path("results")) -> Path:
    """Return a folder for a run that does not exist yet: `results/2026-11-22T12-00-00-quick`."""
    name = f"{datetime.now():%Y-%m-%dT%H-%M-%S}-{preset}"
    candidates = (under / (name + suffix) for suffix in ("", *(f"-{i}" for i in range(2, 1000))))
    return next(path for path in candidates if not path.exists())


def _text(implementation: Any) -> str:
    """Return what names an implementation: itself, or where a module is."""
    if isinstance(implementation, str | Path):
        return str(implementation)
    if isinstance(implementation, ModuleType):
        return implementation.__name__
    raise UsageError(
        f"an implementation is a {type(implementation).__name__}, expected a registered name, "
        "a file, or a module: a worker has to find it again"
    )
