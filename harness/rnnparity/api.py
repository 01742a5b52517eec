"""What Python callers use: `check`, `bench`, `run`, each the plan of a run; and `judge`."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rnnparity import extras
from rnnparity.cells.config import KINDS
from rnnparity.defaults import BUDGET, PROCESSES, QUICK_BUDGET, QUICK_PROCESSES, TIMEOUT
from rnnparity.errors import UsageError
from rnnparity.implementations import stopwatch
from rnnparity.implementations.settings import Settings
from rnnparity.judging.reference import Reference
from rnnparity.problems import presets, sizes
from rnnparity.problems.cases import Case
from rnnparity.problems.given import Sequences, Weights
from rnnparity.problems.outputs import case_of_outputs
from rnnparity.records import lock
from rnnparity.report.notebook import ShownRun
from rnnparity.runs import plan as plans
from rnnparity.runs.check import check as run_check
from rnnparity.runs.keeping import Event, Progress
from rnnparity.runs.outputs import judge_outputs
from rnnparity.runs.plan import Plan
from rnnparity.timing.bench import Stage
from rnnparity.timing.bench import bench as run_bench
from rnnparity.timing.machine import Watch

# The preset of cases, and of sizes, for a first look.
QUICK = "quick"


def check(
    *implementations: Any,
    onnx_backend: str | Path | Sequence[str | Path] | None = None,
    peers: bool = False,
    preset: str | None = None,
    cell: str | None = None,
    cases: Sequence[Case] | None = None,
    device: str | Sequence[str] | None = None,
    dtype: str | Sequence[str] | None = None,
    case: str | Sequence[str] | None = None,
    weights: Any = None,
    prefix: str | None = None,
    x: Any = None,
    h0: Any = None,
    c0: Any = None,
    lengths: Any = None,
    nonlinearity: str | None = None,
    batch_first: bool | None = None,
    xfail: str | Path | None = None,
    settings: Settings | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    timeout: float = TIMEOUT,
    cluster: Any = None,
    python: str | Path | Mapping[str, str] | None = None,
    progress: Progress = lambda event: None,
) -> ShownRun:
    """Check implementations against the truth, each in a process of its own.

    Args:
        *implementations: registered names, files, or modules (themselves or by
            name); none for all that are registered. `NAME@PATH` is run by the Python at PATH.
        onnx_backend: files of ONNX runtimes, each with `run(model_bytes, inputs)`: checked as RNN,
            GRU and LSTM, unless `cell` says otherwise.
        peers: whether the peers come along.
        preset: "quick" (if None), "edges" or "full", unless `cases` or `weights` are given.
        cell: the kind of layers: "rnn", "gru", "lstm" or "all"; None for what `cases`, `weights` or
            own modules are of, all with `onnx_backend`, else "rnn".
        cases: what to check on.
        device: device names or kinds; None for all that are found.
        dtype: only cases in these dtypes; with `weights`, the dtypes to check (their own if
            None).
        case: only the cases of these ids.
        weights: a `torch.nn.RNN`, `GRU` or `LSTM`, a state dict, or the path of a weights file:
            checks on these weights instead of a preset.
        prefix: what the layer's names begin with, where `weights` holds several.
        x: with `weights`, the input, laid out as `torch.nn.RNN` takes it; drawn if None.
        h0: with `x`, the initial state; none is given if None.
        c0: an LSTM's, with `h0`.
        lengths: with `x`, the steps that count in each sequence.
        nonlinearity: of these weights, "tanh" or "relu", where they do not tell; tanh if None.
        batch_first: whether x and the output are `[B, T, features]` on these weights, where they do
            not tell; time first if None.
        xfail: the path of a list of failures that are expected, `id pattern: reason` a line: they
            get the verdict `xfail`, and a line none of whose checks fails is told. With `resume`,
            it is applied to what was recorded, too; the list given before is, if None.
        settings: threads and matmul precision of the workers.
        out: the run's folder; `results/<time>-<preset>` if None.
        resume: go on with the run in `out`.
        timeout: seconds for one case and for an import.
        cluster: spread the work over a Dask cluster: the address of its scheduler, the path of its
            scheduler file, or Dask's own `Client` or cluster. None for this machine.
        python: the path of another Python, or of its environment, which runs those that are named
            without one (`NAME@PATH`); or paths by registered name.
        progress: called with every event.

    Returns:
        The run: `.records`, `.environment`, `.directory`, `.passed`.

    Raises:
        UsageError: something given cannot be used.
    """
    if preset is not None and (weights is not None or cases is not None):
        raise UsageError(f"preset {preset} and weights or cases are given: give one of them")
    if weights is not None and cases is not None:
        raise UsageError("cases and weights are both given: give one; a case can name its weights")
    name = "weights" if weights is not None else QUICK if preset is None else preset
    given = (onnx_backend,) if isinstance(onnx_backend, str | Path) else onnx_backend or ()
    backends = [str(one) for one in given]
    cell = plans.EVERY if cell is None and backends else cell
    directory = Path(out) if out is not None else plans.new_directory(name)
    with plans.undone(directory):
        of_user = Weights(weights, prefix, nonlinearity, batch_first)
        settings, wanted, kinds, own, assumed = _asked(
            implementations,
            cell,
            dtype,
            of_user,
            Sequences(x, h0, lengths, c0),
            directory,
            settings,
        )
        if weights is not None:
            cases = own
        elif cases is None:
            cases = [one for kind in kinds for one in presets.preset(name, kind)]
        chosen, cases = plans.several(case), plans.in_dtypes(cases, wanted)
        cases = tuple(one for one in cases if not chosen or one.id in chosen)
        plan = Plan(
            specs=plans.specs(
                implementations,
                peers,
                kinds=plans.kinds_of(cases) or kinds,
                python=python,
                backends=backends,
            ),
            cases=cases,
            directory=directory,
            preset=None if weights is not None else name,
            devices=plans.devices(device),
            settings=settings,
            resume=resume,
            timeout=timeout,
            assumed=assumed,
            expected=plans.expected(xfail, directory if resume else None),
            cluster=cluster,
        )
    return carry_out(plan, progress)


def judge(
    output: Any = None,
    h_n: Any = None,
    c_n: Any = None,
    *,
    weights: Any,
    x: Any,
    h0: Any = None,
    c0: Any = None,
    lengths: Any = None,
    cell: str | None = None,
    prefix: str | None = None,
    nonlinearity: str | None = None,
    batch_first: bool | None = None,
    dtype: str | None = None,
    name: str | None = None,
    settings: Settings | None = None,
    out: str | Path | None = None,
) -> ShownRun:
    """Judge outputs that were made elsewhere: by a port in C++, MATLAB, firmware, a notebook.

    Nothing is run. Every array is given as such, of NumPy, torch or JAX, or as the path of a file:
    `.npy`, `.npz`, `.safetensors` or CSV; `file.npz:name` picks one of several.

    Args:
        output: `[T, B, D * H]`, or laid out as x is.
        h_n: the last states, `[L * D, B, H]`.
        c_n: an LSTM's.
        weights: a `torch.nn.RNN`, `GRU` or `LSTM`, a state dict, or the path of a weights file.
        x: the input that was given to the port.
        h0: its initial state; zeros if None.
        c0: an LSTM's, with h0.
        lengths: the steps that count in each sequence; all if None.
        cell: "rnn", "gru" or "lstm"; None to find out.
        prefix: what the layer's names begin with, where `weights` holds several.
        nonlinearity: of these weights, "tanh" or "relu", where they do not tell; tanh if None.
        batch_first: whether x and the output are `[B, T, features]` on these weights, where they do
            not tell; time first if None.
        dtype: what the port computed in; if None, the coarser of the weights' and the outputs'.
        name: what the port goes by; the output's file, or "output", if None.
        settings: what is declared besides the dtype: a precision of products, an error of tanh.
        out: the run's folder; `results/<time>-judge` if None.

    Returns:
        The run, with one record.

    Raises:
        UsageError: something given cannot be used.
    """
    settings, (wanted,) = settings or Settings(), plans.dtypes(dtype) or (None,)
    directory = Path(out) if out is not None else plans.new_directory("judge")
    with plans.undone(directory):
        given = Weights(weights, prefix, nonlinearity, batch_first, cell)
        inputs = {"x": x, "h0": h0, "c0": c0, "lengths": lengths}
        outputs = {"output": output, "h_n": h_n, "c_n": c_n}
        there = {key: value for key, value in outputs.items() if value is not None}
        files = [Path(value).name for value in there.values() if isinstance(value, str | Path)]
        kept = plans.kept_weights(given, directory, settings)
        case, fit, notes = case_of_outputs(
            kept, {k: v for k, v in inputs.items() if v is not None}, there, directory, wanted
        )
    title = name or next(iter(files), "output")
    return ShownRun(**vars(judge_outputs(title, case, fit, notes, directory, settings)))


def bench(
    *implementations: Any,
    peers: bool = False,
    preset: str | None = None,
    size: Sequence[str | Sequence[int]] | None = None,
    cell: str | None = None,
    device: str | Sequence[str] | None = None,
    dtype: str | Sequence[str] | None = None,
    weights: Any = None,
    prefix: str | None = None,
    x: Any = None,
    lengths: Any = None,
    nonlinearity: str | None = None,
    batch_first: bool | None = None,
    xfail: str | Path | None = None,
    settings: Settings | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    timeout: float = TIMEOUT,
    processes: int = PROCESSES,
    budget: float = BUDGET,
    cluster: Any = None,
    python: str | Path | Mapping[str, str] | None = None,
    progress: Callable[[Event | Stage], None] = lambda event: None,
) -> ShownRun:
    """Check implementations on the sizes of a preset, then time those that pass, in turns.

    Args:
        *implementations: as for `check`; `torch.nn.RNN`, the baseline, always comes along.
        peers: whether the peers come along.
        preset: of sizes: "cpu" (if None), "quick", "streaming", ...
        size: what is timed instead of a preset's: `(T, B, I, H)` or "T,B,I,H" each; on `weights`
            also `(T, B)`.
        cell: the kind of layers: "rnn", "gru", "lstm" or "all"; None for what own modules declare,
            else "rnn".
        device: device names or kinds; None for all that are found.
        dtype: what to time in; float32 if None.
        weights: a `torch.nn.RNN`, `GRU` or `LSTM`, a state dict, or the path of a weights file:
            times these weights instead of a preset.
        prefix: what the layer's names begin with, where `weights` holds several.
        x: with `weights`, the input, laid out as `torch.nn.RNN` takes it; drawn if None.
        lengths: with `x`, the steps that count in each sequence.
        nonlinearity: of these weights, "tanh" or "relu", where they do not tell; tanh if None.
        batch_first: whether x and the output are `[B, T, features]` on these weights, where they do
            not tell; time first if None.
        xfail: the path of a list of failures that are expected, `id pattern: reason` a line: they
            get the verdict `xfail`, and a line none of whose checks fails is told. With `resume`,
            it is applied to what was recorded, too; the list given before is, if None.
        settings: threads and matmul precision.
        out: the run's folder; `results/<time>-<preset>` if None.
        resume: go on with the run in `out`.
        timeout: seconds for one case and for an import.
        processes: how many processes repeat each timing.
        budget: seconds that the rounds of one timing take in each process, if rounds are short.
        cluster: spread the work over a Dask cluster: the address of its scheduler, the path of its
            scheduler file, or Dask's own `Client` or cluster. None for this machine.
        python: as for `check`; what another Python runs is not timed.
        progress: called with every event of the check, then with every step of the timing.

    Returns:
        The run: `.timings`, `.records`, `.environment`, `.directory`, `.passed`.

    Raises:
        UsageError: something given cannot be used.
    """
    name = _timed_name(preset, size, weights, "cpu")
    directory = Path(out) if out is not None else plans.new_directory(name)
    with plans.undone(directory):
        given = Weights(weights, prefix, nonlinearity, batch_first)
        settings, wanted, kinds, own, assumed = _asked(
            implementations, cell, dtype, given, Sequences(x, None, lengths), directory, settings
        )
        jobs = _jobs(name, _sizes(size), own, wanted, kinds)
        plan = Plan(
            specs=plans.specs(
                implementations,
                peers,
                baseline=True,
                kinds=plans.kinds_of(j.case for j in jobs),
                python=python,
            ),
            cases=(),
            jobs=jobs,
            directory=directory,
            preset=name if name in sizes.PRESETS else None,
            devices=plans.devices(device),
            settings=settings,
            resume=resume,
            timeout=timeout,
            processes=processes,
            budget=budget,
            assumed=assumed,
            expected=plans.expected(xfail, directory if resume else None),
            cluster=cluster,
        )
    return carry_out(plan, progress)


def run(
    *implementations: Any,
    peers: bool = False,
    preset: str | None = None,
    size: Sequence[str | Sequence[int]] | None = None,
    cell: str | None = None,
    device: str | Sequence[str] | None = None,
    dtype: str | Sequence[str] | None = None,
    weights: Any = None,
    prefix: str | None = None,
    x: Any = None,
    lengths: Any = None,
    nonlinearity: str | None = None,
    batch_first: bool | None = None,
    xfail: str | Path | None = None,
    settings: Settings | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    timeout: float = TIMEOUT,
    cluster: Any = None,
    python: str | Path | Mapping[str, str] | None = None,
    progress: Callable[[Event | Stage], None] = lambda event: None,
) -> ShownRun:
    """Do the main job: `check`, then `bench` what passes, into one folder.

    Args:
        *implementations: registered names, files, or modules (themselves or by
            name); none for all that are registered. `torch.nn.RNN` always comes along.
        peers: whether the peers come along.
        preset: "quick" (if None); "full", all cases, with the sizes of "cpu"; or one of sizes, with
            the cases of "quick".
        size: what is timed instead of a preset's: `(T, B, I, H)` or "T,B,I,H" each; on `weights`
            also `(T, B)`.
        cell: the kind of layers: "rnn", "gru", "lstm" or "all"; None for what own modules declare,
            else "rnn". With none of them named the others are checked beside it, on few cases.
        device: device names or kinds; None for all that are found.
        dtype: only cases in these dtypes, and timings in them; if None, all cases, and float32.
        weights: a `torch.nn.RNN`, `GRU` or `LSTM`, a state dict, or the path of a weights file:
            checks and times these weights instead of a preset.
        prefix: what the layer's names begin with, where `weights` holds several.
        x: with `weights`, the input, laid out as `torch.nn.RNN` takes it; drawn if None.
        lengths: with `x`, the steps that count in each sequence.
        nonlinearity: of these weights, "tanh" or "relu", where they do not tell; tanh if None.
        batch_first: whether x and the output are `[B, T, features]` on these weights, where they do
            not tell; time first if None.
        xfail: the path of a list of failures that are expected, `id pattern: reason` a line: they
            get the verdict `xfail`, and a line none of whose checks fails is told. With `resume`,
            it is applied to what was recorded, too; the list given before is, if None.
        settings: threads and matmul precision of the workers.
        out: the run's folder; `results/<time>-<preset>` if None.
        resume: go on with the run in `out`.
        timeout: seconds for one case and for an import.
        cluster: as for `bench`.
        python: as for `bench`.
        progress: as for `bench`.

    Returns:
        The run.

    Raises:
        UsageError: something given cannot be used.
    """
    name = _timed_name(preset, size, weights, QUICK, also=("full",))
    directory = Path(out) if out is not None else plans.new_directory(name)
    with plans.undone(directory):
        given = Weights(weights, prefix, nonlinearity, batch_first)
        settings, wanted, kinds, own, assumed = _asked(
            implementations, cell, dtype, given, Sequences(x, None, lengths), directory, settings
        )
        full, quick = name == "full", name == QUICK
        jobs = _jobs("cpu" if full else name, _sizes(size), own, wanted, kinds)
        cases = [*own] or [c for k in kinds for c in presets.preset("full" if full else QUICK, k)]
        if cell is None and weights is None and not implementations:
            cases += [one for kind in KINDS if kind not in kinds for one in presets.glance(kind)]
        chosen = plans.in_dtypes(cases, wanted)
        plan = Plan(
            specs=plans.specs(
                implementations, peers, True, kinds=plans.kinds_of(chosen), python=python
            ),
            cases=chosen,
            jobs=jobs,
            directory=directory,
            preset=name if name == "full" or name in sizes.PRESETS else None,
            devices=plans.devices(device),
            settings=settings,
            resume=resume,
            timeout=timeout,
            processes=QUICK_PROCESSES if quick else PROCESSES,
            budget=QUICK_BUDGET if quick else BUDGET,
            assumed=assumed,
            expected=plans.expected(xfail, directory if resume else None),
            cluster=cluster,
        )
    return carry_out(plan, progress)


def _asked(
    implementations: Sequence[Any],
    cell: str | None,
    dtype: str | Sequence[str] | None,
    weights: Weights,
    sequences: Sequences,
    directory: Path,
    settings: Settings | None,
) -> tuple[Settings, tuple[str, ...] | None, tuple[str, ...], Sequence[Case], tuple[str, ...]]:
    """Return what checking and timing take alike, as a plan has it; weights are kept.

    Settings, dtypes and kinds of layers; of weights that are given, the cases on them and how they
    are read, a line each.

    Raises:
        UsageError: something given cannot be used, or goes with weights, and they are not given.
    """
    settings, wanted = settings or Settings(), plans.dtypes(dtype)
    kinds = plans.kinds(cell, implementations)
    if weights.source is None:
        if weights.prefix is not None or any(given is not None for given in sequences):
            raise UsageError("prefix, x, h0, c0 and lengths go with weights: give these, too")
        return settings, wanted, kinds, (), ()
    of = weights._replace(kind=kinds[0] if cell and len(kinds) == 1 else None)
    own, assumed = plans.weights_cases(of, sequences, directory, wanted, settings)
    return settings, wanted, kinds, own, assumed


def _timed_name(
    preset: str | None, size: Any, weights: Any, default: str, also: tuple[str, ...] = ()
) -> str:
    """Return what a run goes by: a preset of sizes, "sizes" or "weights".

    Raises:
        UsageError: a preset is given beside sizes or weights.
    """
    if size or weights is not None:
        if preset is not None:
            raise UsageError(f"preset {preset} and sizes or weights are given: give one of them")
        return "weights" if weights is not None else "sizes"
    name = default if preset is None else preset
    if name not in also:
        sizes.check_name(name)
    return name


def _sizes(given: Sequence[str | Sequence[int]] | None) -> list[sizes.Size]:
    texts = [one if isinstance(one, str) else ",".join(map(str, one)) for one in given or ()]
    return [sizes.Size.parse(text) for text in texts]


def _jobs(
    name: str,
    given: Sequence[sizes.Size],
    own: Sequence[Case],
    dtypes: tuple[str, ...] | None,
    kinds: tuple[str, ...],
) -> tuple[sizes.Job, ...]:
    """Return what is timed: on a user's weights, at a user's sizes, or at a preset's."""
    if own:
        return tuple(sizes.on_weights(own[0], given, dtypes))
    timed = dtypes or ("float32",)
    if given:
        return tuple(job for kind in kinds for job in sizes.of_sizes(given, timed, kind))
    return tuple(job for kind in kinds for job in sizes.jobs(name, timed, kind))


def carry_out(plan: Plan, progress: Callable[[Any], None] = lambda event: None) -> ShownRun:
    """Do what a plan says: check, then time what passes, into one folder.

    Args:
        plan: what is to be done.
        cluster: spread the work over a Dask cluster: the address of its scheduler, the path of its
            scheduler file, or Dask's own `Client` or cluster. None for this machine.
        progress: called with every event of the check, then with every stage of the timing.

    Returns:
        The run.

    Raises:
        UsageError: the folder cannot be used, or holds another run.
    """
    if plan.jobs:
        extras.needed("bench", "timing")
    if plan.cluster is not None:
        extras.needed("cluster", "a run on a cluster")
    with lock.held(plan.directory):
        return _carried_out(plan, progress)


def _carried_out(plan: Plan, progress: Callable[[Any], None]) -> ShownRun:
    begun, watch = time.monotonic(), Watch(plan.settings.threads)
    references: dict[Case, Reference] = {}
    made = run_check(plan, progress, references)
    if plan.jobs:
        if not made.interrupted:
            if plan.cluster is None:
                run_bench(made, plan, references, watch, progress)
            else:
                from rnnparity.timing import spreading  # imports Dask

                spreading.bench(made, plan, progress)
        made.environment["seconds"] = {
            "wall": time.monotonic() - begun,
            "imports_and_calls": stopwatch.covered(stopwatch.take(), begun),
        }
        made.write_environment()
    return ShownRun(**vars(made))
