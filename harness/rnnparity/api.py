"""What Python callers use: `check`, `bench` and `run`, each the plan of a run, carried out."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rnnparity.cells.config import KINDS
from rnnparity.defaults import BUDGET, PROCESSES, QUICK_BUDGET, QUICK_PROCESSES, TIMEOUT
from rnnparity.errors import UsageError
from rnnparity.implementations import stopwatch
from rnnparity.implementations.settings import Settings
from rnnparity.judging.reference import Reference
from rnnparity.problems import presets, sizes
from rnnparity.problems.cases import Case
from rnnparity.problems.given import Sequences, Weights
from rnnparity.report.notebook import ShownRun
from rnnparity.runs import plan as plans
from rnnparity.runs.check import Event, Progress
from rnnparity.runs.check import check as run_check
from rnnparity.runs.plan import Plan
from rnnparity.timing.bench import Stage
from rnnparity.timing.bench import bench as run_bench
from rnnparity.timing.machine import Watch


def check(
    *implementations: Any,
    peers: bool = False,
    preset: str = "quick",
    cell: str | None = None,
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
) -> ShownRun:
    """Check implementations against the truth, each in a process of its own.

    Args:
        *implementations: registered names, files, or modules (themselves or by
            name); none for all that are registered.
        peers: whether the peers come along.
        preset: "quick", "edges" or "full", unless `cases` or `weights` are given.
        cell: the kind of layers: "rnn", "gru", "lstm" or "all"; None for what `cases`, `weights` or
            own modules are of, else "rnn".
        cases: what to check on.
        device: device names or kinds; None for all that are found.
        dtype: only cases in these dtypes; with `weights`, the dtypes to check (their own if
            None).
        case: only the cases of these ids.
        weights: a `torch.nn.RNN`, `GRU` or `LSTM`, a state dict, or the path of a weights file:
            checks on these weights instead of a preset.
        prefix: what the layer's names begin with, where `weights` holds several.
        x: with `weights`, the input, laid out as `torch.nn.RNN` takes it; drawn if None.
        lengths: with `x`, the steps that count in each sequence.
        nonlinearity: of these weights, which names and shapes do not tell.
        batch_first: whether x and the output are `[B, T, features]` on these weights.
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
    if weights is None and any(given is not None for given in (prefix, x, lengths)):
        raise UsageError("prefix, x and lengths go with weights: give these, too")
    if weights is not None and cases is not None:
        raise UsageError("cases and weights are both given: give one; a case can name its weights")
    settings, wanted = settings or Settings(), plans.dtypes(dtype)
    kinds = plans.kinds(cell, implementations)
    name = preset if weights is None else "weights"
    directory = Path(out) if out is not None else plans.new_directory(name)
    if weights is not None:
        of = kinds[0] if cell and len(kinds) == 1 else None
        given = Weights(weights, prefix, nonlinearity, batch_first, of)
        cases = plans.weights_cases(given, Sequences(x, None, lengths), directory, wanted, settings)
    elif cases is None:
        cases = [one for kind in kinds for one in presets.preset(preset, kind)]
    chosen, cases = plans.several(case), plans.in_dtypes(cases, wanted)
    cases = tuple(one for one in cases if not chosen or one.id in chosen)
    plan = Plan(
        specs=plans.specs(implementations, peers, kinds=plans.kinds_of(cases) or kinds),
        cases=cases,
        directory=directory,
        preset=None if weights is not None else preset,
        devices=plans.several(device),
        settings=settings,
        resume=resume,
        timeout=timeout,
    )
    return carry_out(plan, progress)


def bench(
    *implementations: Any,
    peers: bool = False,
    preset: str = "cpu",
    cell: str | None = None,
    device: str | Sequence[str] | None = None,
    dtype: str | Sequence[str] | None = None,
    settings: Settings | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    timeout: float = TIMEOUT,
    processes: int = PROCESSES,
    budget: float = BUDGET,
    progress: Callable[[Event | Stage], None] = lambda event: None,
) -> ShownRun:
    """Check implementations on the sizes of a preset, then time those that pass, in turns.

    Args:
        *implementations: as for `check`; `torch.nn.RNN`, the baseline, always comes along.
        peers: whether the peers come along.
        preset: of sizes: "quick", "cpu", "streaming", ...
        cell: the kind of layers: "rnn", "gru", "lstm" or "all"; None for what own modules declare,
            else "rnn".
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
    wanted, kinds = plans.dtypes(dtype) or ("float32",), plans.kinds(cell, implementations)
    plan = Plan(
        specs=plans.specs(implementations, peers, baseline=True, kinds=kinds),
        cases=(),
        jobs=tuple(job for kind in kinds for job in sizes.jobs(preset, wanted, kind)),
        directory=Path(out) if out is not None else plans.new_directory(preset),
        preset=preset,
        devices=plans.several(device),
        settings=settings or Settings(),
        resume=resume,
        timeout=timeout,
        processes=processes,
        budget=budget,
    )
    return carry_out(plan, progress)


def run(
    *implementations: Any,
    peers: bool = False,
    preset: str = "quick",
    cell: str | None = None,
    device: str | Sequence[str] | None = None,
    dtype: str | Sequence[str] | None = None,
    settings: Settings | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    timeout: float = TIMEOUT,
    progress: Callable[[Event | Stage], None] = lambda event: None,
) -> ShownRun:
    """Do the main job: `check`, then `bench` what passes, into one folder.

    Args:
        *implementations: registered names, files, or modules (themselves or by
            name); none for all that are registered. `torch.nn.RNN` always comes along.
        peers: whether the peers come along.
        preset: "quick"; "full", all cases, with the sizes of "cpu"; or one of sizes, with the cases
            of "quick".
        cell: the kind of layers: "rnn", "gru", "lstm" or "all"; None for what own modules declare,
            else "rnn". With none of them named the others are checked beside it, on few cases.
        device: device names or kinds; None for all that are found.
        dtype: only cases in these dtypes, and timings in them; if None, all cases, and float32.
        settings: threads and matmul precision of the workers.
        out: the run's folder; `results/<time>-<preset>` if None.
        resume: go on with the run in `out`.
        timeout: seconds for one case and for an import.
        progress: as for `bench`.

    Returns:
        The run.

    Raises:
        UsageError: something given cannot be used.
    """
    wanted, kinds = plans.dtypes(dtype), plans.kinds(cell, implementations)
    full, quick = preset == "full", preset == "quick"
    timed, to_time = wanted or ("float32",), "cpu" if full else preset
    jobs = [job for kind in kinds for job in sizes.jobs(to_time, timed, kind)]
    cases = [one for kind in kinds for one in presets.preset("full" if full else "quick", kind)]
    if cell is None and not implementations:
        cases += [one for kind in KINDS if kind not in kinds for one in presets.glance(kind)]
    chosen = plans.in_dtypes(cases, wanted)
    plan = Plan(
        specs=plans.specs(implementations, peers, baseline=True, kinds=plans.kinds_of(chosen)),
        cases=chosen,
        jobs=tuple(jobs),
        directory=Path(out) if out is not None else plans.new_directory(preset),
        preset=preset,
        devices=plans.several(device),
        settings=settings or Settings(),
        resume=resume,
        timeout=timeout,
        processes=QUICK_PROCESSES if quick else PROCESSES,
        budget=QUICK_BUDGET if quick else BUDGET,
    )
    return carry_out(plan, progress)


def carry_out(plan: Plan, progress: Callable[[Any], None] = lambda event: None) -> ShownRun:
    """Do what a plan says: check, then time what passes, into one folder.

    Args:
        plan: what is to be done.
        progress: called with every event of the check, then with every stage of the timing.

    Returns:
        The run.

    Raises:
        UsageError: the folder cannot be used, or holds another run.
    """
    begun, watch = time.monotonic(), Watch(plan.settings.threads)
    references: dict[Case, Reference] = {}
    made = run_check(plan, progress, references)
    if plan.jobs:
        if not made.interrupted:
            run_bench(made, plan, references, watch, progress)
        made.environment["seconds"] = {
            "wall": time.monotonic() - begun,
            "imports_and_calls": stopwatch.covered(stopwatch.take(), begun),
        }
        made.write_environment()
    return ShownRun(**vars(made))
