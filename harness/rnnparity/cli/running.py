"""Checking and timing: check, bench, run."""

import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rnnparity.cli.options import (
    BatchFirst,
    CellKind,
    Chosen,
    Device,
    Dtype,
    Implementations,
    Input,
    Json,
    Lengths,
    OfWeights,
    Out,
    Peers,
    Precision,
    Prefix,
    Preset,
    Resume,
    TanhAbsolute,
    Threads,
    Timeout,
    Weights,
)
from rnnparity.cli.shared import console, settings, terminated
from rnnparity.defaults import BUDGET, PROCESSES, TIMEOUT
from rnnparity.errors import UsageError
from rnnparity.verdicts import Verdict

if TYPE_CHECKING:
    from rnnparity.records.run import Run


def check(
    implementations: Implementations = None,
    peers: Peers = False,
    preset: Preset = "quick",
    cell: CellKind = None,
    device: Device = None,
    dtype: Dtype = None,
    case: Chosen = None,
    weights: Weights = None,
    prefix: Prefix = None,
    input_: Input = None,
    lengths: Lengths = None,
    nonlinearity: OfWeights = None,
    batch_first: BatchFirst = False,
    threads: Threads = "1",
    matmul_precision: Precision = "float32",
    tanh_absolute: TanhAbsolute = 0.0,
    timeout: Timeout = TIMEOUT,
    out: Out = None,
    json: Json = False,
    resume: Resume = False,
) -> None:
    """Check parity. Exit code 0: all pass; 1: something fails or breaks; 2: bad usage."""
    if input_ is not None or lengths is not None:
        from rnnparity.problems import given
    _go(
        "check",
        json,
        implementations or [],
        peers=peers,
        preset=preset,
        cell=cell,
        device=device,
        dtype=dtype,
        case=case,
        weights=weights,
        prefix=prefix,
        x=None if input_ is None else given.load_array(input_),
        lengths=None if lengths is None else given.parse_lengths(lengths),
        nonlinearity=None if nonlinearity is None else str(nonlinearity),
        batch_first=batch_first or None,
        settings=settings(threads, matmul_precision, tanh_absolute),
        out=out,
        resume=resume,
        timeout=timeout,
    )


def bench(
    implementations: Implementations = None,
    peers: Peers = False,
    preset: Annotated[str, typer.Option(help="Which sizes: see rnnparity list.")] = "cpu",
    cell: CellKind = None,
    device: Device = None,
    dtype: Dtype = None,
    threads: Threads = "1",
    matmul_precision: Precision = "float32",
    tanh_absolute: TanhAbsolute = 0.0,
    processes: Annotated[int, typer.Option(help="Processes that repeat each timing.")] = PROCESSES,
    budget: Annotated[
        float, typer.Option(help="Seconds per timing and process, where calls are short.")
    ] = BUDGET,
    timeout: Timeout = TIMEOUT,
    out: Out = None,
    json: Json = False,
    resume: Resume = False,
) -> None:
    """Time what passes, in turns with torch.nn.RNN. Exit codes as for check."""
    _go(
        "bench",
        json,
        implementations or [],
        peers=peers,
        preset=preset,
        cell=cell,
        device=device,
        dtype=dtype,
        settings=settings(threads, matmul_precision, tanh_absolute),
        processes=processes,
        budget=budget,
        out=out,
        resume=resume,
        timeout=timeout,
    )


def run(
    implementations: Implementations = None,
    peers: Peers = False,
    preset: Annotated[
        str, typer.Option(help="quick, full, or sizes: see rnnparity list.")
    ] = "quick",
    cell: CellKind = None,
    device: Device = None,
    dtype: Dtype = None,
    threads: Threads = "1",
    matmul_precision: Precision = "float32",
    tanh_absolute: TanhAbsolute = 0.0,
    timeout: Timeout = TIMEOUT,
    out: Out = None,
    json: Json = False,
    resume: Resume = False,
) -> None:
    """Do the main job: check, time what passes, show both. Exit codes as for check."""
    _go(
        "run",
        json,
        implementations or [],
        peers=peers,
        preset=preset,
        cell=cell,
        device=device,
        dtype=dtype,
        settings=settings(threads, matmul_precision, tanh_absolute),
        out=out,
        resume=resume,
        timeout=timeout,
    )


def _go(job: str, json: bool, implementations: list[str], **arguments: Any) -> None:
    """Run `api.check`, `api.bench` or `api.run`, show it, and exit."""
    from rnnparity import api
    from rnnparity.records.files import document
    from rnnparity.report import terminal

    if arguments["resume"] and arguments["out"] is None:
        raise UsageError("--resume needs --out DIR: the folder of the run to go on with")
    signal.signal(signal.SIGTERM, terminated)
    with terminal.Display(console(stderr=True)) as display:
        result = getattr(api, job)(*implementations, progress=display, **arguments)
    if json:
        made = [*result.records, *result.timings]
        sys.stdout.buffer.write(document(result.environment, made) + b"\n")
    else:
        terminal.show(result, console())
    if job != "check" and result.records:
        from rnnparity.report import writing

        console(stderr=json).print(f"report in {writing.write(result.directory)}", soft_wrap=True)
    raise SystemExit(exit_code(result, implementations))


def exit_code(result: "Run", asked_for: list[str]) -> int:
    """Return 0 if all pass, 1 if something is wrong, 130 if it was interrupted.

    Raises:
        UsageError: what was asked for is absent, or nothing was checked.
    """
    from rnnparity.implementations.registry import without_kind

    if result.interrupted:
        return 130
    if any(verdict.is_wrong for verdict in result.verdicts):
        return 1
    absent = [r for r in result.records if r.verdict == Verdict.ABSENT]
    missing = [
        r for r in absent if {r.implementation, without_kind(r.implementation)} & {*asked_for}
    ]
    if missing:
        raise UsageError(
            f"{missing[0].implementation} was asked for and is absent: {missing[0].reason}"
        )
    if not result.passed:
        raise UsageError("nothing was checked: see the reasons above")
    return 0
