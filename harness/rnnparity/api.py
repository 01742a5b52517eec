"""What Python callers use: `check`, `bench` and `run`, and the plan behind them."""

import hashlib
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from rnnparity.cells.config import RNNConfig
from rnnparity.defaults import BUDGET, PROCESSES, TIMEOUT
from rnnparity.errors import UsageError
from rnnparity.implementations import registry, stopwatch
from rnnparity.implementations.settings import Settings
from rnnparity.judging.reference import Reference
from rnnparity.problems import given, onnx_format, presets, sizes, weights
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import NAMES
from rnnparity.records.run import Run
from rnnparity.runs import processes
from rnnparity.runs.check import Event, Progress, new_directory
from rnnparity.runs.check import check as run_check
from rnnparity.timing.bench import Plan, Step
from rnnparity.timing.bench import bench as run_bench
from rnnparity.timing.machine import Watch


def check(
    *implementations: Any,
    peers: bool = False,
    preset: str = "quick",
    cases: Sequence[Case] | None = None,
    device: str | Sequence[str] | None = None,
    dtype: str | Sequence[str] | None = None,
    case: str | Sequence[str] | None = None,
    weights: Any = None,
    prefix: str | None = None,
    x: Any = None,
    lengths: Any = None,
    nonlinearity: str = "tanh",
    batch_first: bool = False,
    settings: Settings | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    timeout: float = TIMEOUT,
    progress: Progress = lambda event: None,
) -> Run:
    """Check implementations against the truth, each in a process of its own.

    Args:
        *implementations: registered names, files, or modules (themselves or by
            name); none for all that are registered.
        peers: whether the peers come along.
        preset: "quick", "edges" or "full", unless `cases` or `weights` are given.
        cases: what to check on.
        device: device names or kinds; None for all that are found.
        dtype: only cases in these dtypes; with `weights`, the dtypes to check (their own if
            None).
        case: only the cases of these ids.
        weights: a `torch.nn.RNN`, a state dict, or the path of a `.safetensors`, `.pt` or `.onnx`
            file: checks on these weights instead of a preset.
        prefix: what the RNN's names begin with, where `weights` holds several.
        x: with `weights`, the input, laid out as `torch.nn.RNN` takes it; drawn if None.
        lengths: with `x`, the steps that count in each sequence.
        nonlinearity: of these weights, which names and shapes do not tell.
        batch_first: likewise.
        settings: threads and matmul precision of the workers.
        out: the run's folder; `results/<time>-<preset>` if None.
        resume: go on with the run in `out`.
        timeout: seconds for one case and for an import.
        progress: called with every event.

    Returns:
        The run: `.records`, `.environment`, `.directory`, `.passed`.

    Raises:
        UsageError: something given cannot be used.
    """
    settings = settings or Settings()
    devices, dtypes = _several(device), _several(dtype)
    for name in dtypes or ():
        if name not in NAMES:
            raise UsageError(f"no dtype {name!r}: there are {', '.join(NAMES)}")
    _check_positive("timeout", timeout)
    if weights is None and any(given is not None for given in (prefix, x, lengths)):
        raise UsageError("prefix, x and lengths go with weights: give these, too")
    if weights is not None and cases is not None:
        raise UsageError("cases and weights are both given: give one; a case can name its weights")
    specs = registry.resolve_all([_text(one) for one in implementations], peers)
    directory = (
        Path(out) if out is not None else new_directory(preset if weights is None else "weights")
    )
    if weights is not None:
        told = {"nonlinearity": nonlinearity, "batch_first": batch_first}
        cases = weights_cases(weights, told, directory, dtypes, settings, prefix, x, lengths)
    elif cases is None:
        cases = presets.preset(preset)
    if dtypes:
        cases = [case for case in cases if case.dtype in dtypes]
    chosen = _several(case)
    if chosen:
        cases = [one for one in cases if one.id in chosen]
    if not cases:
        raise UsageError("no case is left to check: give other dtypes, cases or another preset")
    return run_check(
        specs,
        cases,
        directory,
        settings=settings,
        devices=devices,
        timeout=timeout,
        resume=resume,
        progress=progress,
        preset=None if weights is not None else preset,
    )


def bench(
    *implementations: Any,
    peers: bool = False,
    preset: str = "cpu",
    device: str | Sequence[str] | None = None,
    dtype: str | Sequence[str] | None = None,
    settings: Settings | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    timeout: float = TIMEOUT,
    processes: int = PROCESSES,
    budget: float = BUDGET,
    progress: Callable[[Event | Step], None] = lambda event: None,
) -> Run:
    """Check implementations on the sizes of a preset, then time those that pass, in turns.

    Args:
        *implementations: as for `check`; `torch.nn.RNN`, the baseline, always comes along.
        peers: whether the peers come along.
        preset: of sizes: "quick", "cpu", "streaming", ...
        device: device names or kinds; None for all that are found.
        dtype: what to time in; float32 if None.
        settings: threads and matmul precision.
        out: the run's folder; `results/<time>-<preset>` if None.
        resume: go on with the run in `out`.
        timeout: seconds for one case and for an import.
        processes: how many processes repeat each timing.
        budget: seconds that the rounds of one timing take in each process, if rounds are short.
        progress: called with every event of the check, then with every step of the timing.

    Returns:
        The run: `.timings`, `.records`, `.environment`, `.directory`, `.passed`.

    Raises:
        UsageError: something given cannot be used.
    """
    jobs = sizes.jobs(preset, tuple(_several(dtype) or ("float32",)))
    plan = Plan(processes=processes, budget=budget, timeout=timeout)
    return _timed(
        implementations, peers, preset, [], jobs, device, settings, out, resume, plan, progress
    )


def run(
    *implementations: Any,
    peers: bool = False,
    preset: str = "quick",
    device: str | Sequence[str] | None = None,
    dtype: str | Sequence[str] | None = None,
    settings: Settings | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    timeout: float = TIMEOUT,
    progress: Callable[[Event | Step], None] = lambda event: None,
) -> Run:
    """Do the main job: `check`, then `bench` what passes, into one folder.

    Args:
        *implementations: as for `check`.
        peers: likewise.
        preset: "quick"; "full", all cases, with the sizes of "cpu"; or one of sizes, with the cases
            of "quick".
        device: likewise.
        dtype: only cases in these dtypes, and timings in them; if None, all cases, and float32.
        settings: likewise.
        out: likewise.
        resume: likewise.
        timeout: likewise.
        progress: as for `bench`.

    Returns:
        The run.

    Raises:
        UsageError: something given cannot be used.
    """
    jobs = sizes.jobs("cpu" if preset == "full" else preset, tuple(_several(dtype) or ("float32",)))
    cases = presets.preset("full" if preset == "full" else "quick")
    cases = [case for case in cases if dtype is None or case.dtype in (_several(dtype) or ())]
    plan = Plan(timeout=timeout) if preset != "quick" else Plan(3, 0.4, timeout)
    return _timed(
        implementations, peers, preset, cases, jobs, device, settings, out, resume, plan, progress
    )


def _timed(
    implementations: Sequence[Any],
    peers: bool,
    preset: str,
    cases: list[Case],
    jobs: list[sizes.Job],
    device: str | Sequence[str] | None,
    settings: Settings | None,
    out: str | Path | None,
    resume: bool,
    plan: Plan,
    progress: Callable[[Event | Step], None],
) -> Run:
    settings = settings or Settings()
    _check_positive("timeout", plan.timeout)
    _check_positive("budget", plan.budget)
    _check_positive("processes", plan.processes)
    specs = registry.resolve_all([_text(one) for one in implementations], peers)
    baseline = registry.registered().get(registry.BASELINE)
    if baseline is not None and baseline not in specs:
        specs.insert(0, baseline)
    begun, watch = time.monotonic(), Watch(settings.threads)
    references: dict[Case, Reference] = {}
    made = run_check(
        specs,
        dict.fromkeys([*cases, *(job.case for job in jobs)]),
        Path(out) if out is not None else new_directory(preset),
        settings=settings,
        devices=_several(device),
        timeout=plan.timeout,
        resume=resume,
        progress=progress,
        references=references,
        preset=preset,
    )
    if not made.interrupted:
        run_bench(
            made,
            specs,
            jobs,
            references,
            settings=settings,
            plan=plan,
            watch=watch,
            progress=progress,
        )
    made.environment["seconds"] = {
        "wall": time.monotonic() - begun,
        "imports_and_calls": stopwatch.covered(stopwatch.take(), begun),
    }
    made.write_environment()
    return made


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise UsageError(f"{name} is {value:g}, expected more than 0")


def _several(given: str | Sequence[str] | None) -> list[str] | None:
    if isinstance(given, str):
        return [given]
    return list(given) if given else None


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


def weights_cases(
    source: Any,
    told: dict[str, Any],
    directory: Path,
    dtypes: Sequence[str] | None,
    settings: Settings,
    prefix: str | None = None,
    x: Any = None,
    lengths: Any = None,
) -> list[Case]:
    """Keep weights in the run's folder, and return cases on them.

    Args:
        source: as `check`'s `weights`.
        told: `nonlinearity` and `batch_first`, where the source does not know them.
        directory: keeps them, so that the run can be repeated.
        dtypes: one set of cases for each; None for the weights' own.
        settings: of the worker that reads a `.pt` file.
        prefix: as `check`'s.
        x: likewise.
        lengths: likewise.

    Raises:
        UsageError: the source holds no weights of a `torch.nn.RNN`.
    """
    if isinstance(source, str | Path) and Path(source).suffix in (".pt", ".pth"):
        kept = _keep_in_worker(Path(source), told, directory, prefix, settings)
    else:
        kept = keep(source, told, directory, prefix)
    plain = case_of(kept, kept.dtype, directory, x, None, lengths)
    cases = [plain, plain.replace(invariants=True)]
    if x is None:
        cases += [
            plain.replace(h0=False),
            plain.replace(one_more_step=True),
            plain.replace(ragged=True),
            plain.replace(B=None),
            plain.replace(T=1, B=1),
        ]
    return [case.replace(dtype=one) for one in dtypes or (kept.dtype,) for case in cases]


class Kept(NamedTuple):
    """Weights in a run's folder, and what their source says besides.

    `reverse`, `h0` and `lengths` are an ONNX model's: it reads sequences backwards only; states and
    lengths are stored in it, and go with an input.
    """

    path: str
    config: RNNConfig
    dtype: str
    reverse: bool = False
    h0: Any = None
    lengths: Any = None


def case_of(kept: Kept, dtype: str, directory: Path, x: Any, h0: Any, lengths: Any) -> Case:
    """Return a case on kept weights and a user's input, which may be None.

    Raises:
        UsageError: they do not fit.
    """
    if x is not None:
        h0 = kept.h0 if h0 is None else h0
        lengths = kept.lengths if lengths is None else lengths
        if kept.reverse:
            x = given.reversed_in_time(x, kept.config, lengths)
    return given.case(kept.path, kept.config, dtype, directory, x, h0, lengths)


def keep(source: Any, told: dict[str, Any], directory: Path, prefix: str | None = None) -> Kept:
    """Read weights and write them into a folder, so that the run can be repeated.

    Args:
        source: whatever holds them.
        told: what it does not tell.
        directory: gets `weights-<digest>.safetensors`.
        prefix: what their names begin with.

    Returns:
        Where they are, their configuration and dtype.

    Raises:
        UsageError: they cannot be used.
    """
    model = None
    if isinstance(source, str | Path) and Path(source).suffix == ".onnx" and Path(source).is_file():
        model = onnx_format.read(Path(source))
        told = {"nonlinearity": model.nonlinearity, "batch_first": model.batch_first}
    parameters = weights.read(source, prefix)
    config = weights.config_of(source, parameters, prefix, **told)
    digest = hashlib.sha256(b"".join(value.tobytes() for value in parameters.values()))
    path = directory / f"weights-{digest.hexdigest()[:8]}.safetensors"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        weights.write(path, parameters)
    except OSError as error:
        raise UsageError(f"{directory} cannot be written to: {error.strerror}") from None
    kept = Kept(str(path.resolve()), config, parameters["weight_hh_l0"].dtype.name)
    if model is None:
        return kept
    return kept._replace(reverse=model.reverse, h0=model.h0, lengths=model.lengths)


def _keep_in_worker(
    path: Path,
    told: dict[str, Any],
    directory: Path,
    prefix: str | None,
    settings: Settings,
) -> Kept:
    """Only torch reads a .pt file, and torch is not imported into this process."""
    with tempfile.TemporaryDirectory() as folder:
        worker = processes.Worker(settings, Path(folder) / "worker.log")
        try:
            return worker.call(TIMEOUT, keep, path, told, directory, prefix)
        except processes.WorkerLost as lost:
            raise UsageError(f"{path} could not be read: the process that read it {lost}") from None
        finally:
            worker.stop()
