"""Checking and timing: check, bench, run."""

import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from rnnparity.cli.options import (
    BatchFirst,
    CellKind,
    Chosen,
    Cluster,
    Device,
    Dtype,
    Implementations,
    Input,
    Json,
    Junit,
    Lengths,
    Memory,
    Nonlinearity,
    OfSizes,
    OfWeights,
    OnnxBackend,
    Out,
    Peers,
    Precision,
    Prefix,
    Preset,
    Python,
    Pythons,
    Report,
    Resume,
    TanhAbsolute,
    Threads,
    Timeout,
    Weights,
    Xfail,
)
from rnnparity.cli.shared import (
    console,
    exit_code,
    other_python,
    regular,
    settings,
    terminated,
)
from rnnparity.defaults import BUDGET, PROCESSES, TIMEOUT
from rnnparity.errors import UsageError


def check(
    implementations: Implementations = None,
    onnx_backend: OnnxBackend = None,
    peers: Peers = False,
    preset: Preset = None,
    cell: CellKind = None,
    device: Device = None,
    dtype: Dtype = None,
    case: Chosen = None,
    weights: Weights = None,
    prefix: Prefix = None,
    input_: Input = None,
    h0: Annotated[
        Path | None, typer.Option(help="Initial state that goes with --input.", show_default=False)
    ] = None,
    c0: Annotated[
        Path | None, typer.Option(help="An LSTM's, with --h0.", show_default=False)
    ] = None,
    lengths: Lengths = None,
    nonlinearity: OfWeights = None,
    batch_first: BatchFirst = False,
    xfail: Xfail = None,
    threads: Threads = "1",
    matmul_precision: Precision = "float32",
    tanh_absolute: TanhAbsolute = 0.0,
    memory: Memory = None,
    timeout: Timeout = TIMEOUT,
    out: Out = None,
    report: Report = False,
    junit: Junit = None,
    json: Json = False,
    resume: Resume = False,
    cluster: Cluster = None,
    python: Python = None,
    pythons: Pythons = None,
) -> None:
    """Check parity. Exit code 0: all pass; 1: something fails or breaks; 2: bad usage."""
    _go(
        "check",
        json,
        implementations or [],
        report=report,
        junit=junit,
        onnx_backend=onnx_backend,
        peers=peers,
        preset=preset,
        cell=cell,
        device=device,
        dtype=dtype,
        case=case,
        xfail=xfail,
        **_on_weights(
            weights, prefix, input_, lengths, nonlinearity, batch_first, {"h0": h0, "c0": c0}
        ),
        settings=settings(threads, matmul_precision, tanh_absolute, memory, cluster is not None),
        cluster=cluster,
        python=other_python(python, pythons),
        out=out,
        resume=resume,
        timeout=timeout,
    )


def bench(
    implementations: Implementations = None,
    peers: Peers = False,
    preset: Annotated[
        str | None,
        typer.Option(help="Which sizes: see rnnparity list [default: cpu].", show_default=False),
    ] = None,
    size: OfSizes = None,
    cell: CellKind = None,
    device: Device = None,
    dtype: Dtype = None,
    weights: Weights = None,
    prefix: Prefix = None,
    input_: Input = None,
    lengths: Lengths = None,
    nonlinearity: OfWeights = None,
    batch_first: BatchFirst = False,
    xfail: Xfail = None,
    threads: Threads = "1",
    matmul_precision: Precision = "float32",
    tanh_absolute: TanhAbsolute = 0.0,
    memory: Memory = None,
    processes: Annotated[int, typer.Option(help="Processes that repeat each timing.")] = PROCESSES,
    budget: Annotated[
        float, typer.Option(help="Seconds per timing and process, where calls are short.")
    ] = BUDGET,
    timeout: Timeout = TIMEOUT,
    out: Out = None,
    json: Json = False,
    resume: Resume = False,
    cluster: Cluster = None,
    python: Python = None,
    pythons: Pythons = None,
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
        size=size,
        xfail=xfail,
        **_on_weights(weights, prefix, input_, lengths, nonlinearity, batch_first),
        settings=settings(threads, matmul_precision, tanh_absolute, memory, cluster is not None),
        cluster=cluster,
        python=other_python(python, pythons),
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
        str | None,
        typer.Option(
            help="quick, full, or of sizes: see rnnparity list [default: quick].",
            show_default=False,
        ),
    ] = None,
    size: OfSizes = None,
    cell: CellKind = None,
    device: Device = None,
    dtype: Dtype = None,
    weights: Weights = None,
    prefix: Prefix = None,
    input_: Input = None,
    lengths: Lengths = None,
    nonlinearity: OfWeights = None,
    batch_first: BatchFirst = False,
    xfail: Xfail = None,
    threads: Threads = "1",
    matmul_precision: Precision = "float32",
    tanh_absolute: TanhAbsolute = 0.0,
    memory: Memory = None,
    timeout: Timeout = TIMEOUT,
    out: Out = None,
    json: Json = False,
    resume: Resume = False,
    cluster: Cluster = None,
    python: Python = None,
    pythons: Pythons = None,
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
        size=size,
        xfail=xfail,
        **_on_weights(weights, prefix, input_, lengths, nonlinearity, batch_first),
        settings=settings(threads, matmul_precision, tanh_absolute, memory, cluster is not None),
        cluster=cluster,
        python=other_python(python, pythons),
        out=out,
        resume=resume,
        timeout=timeout,
    )


def _on_weights(
    weights: Path | None,
    prefix: str | None,
    x: Path | None,
    lengths: str | None,
    nonlinearity: Nonlinearity | None,
    batch_first: bool,
    states: dict[str, Path | None] | None = None,
) -> dict[str, Any]:
    """Return the arguments of `api` for what is done on a user's weights.

    A file that holds states and lengths beside x gives these, too, where there is a use for them.
    """
    regular(weights=weights, input=x, lengths=lengths, **(states or {}))
    found: dict[str, Any] = {"x": None, "lengths": None} | dict.fromkeys(states or {})
    if x is not None or lengths is not None or any((states or {}).values()):
        from rnnparity.problems.given import parse_lengths
        from rnnparity.problems.saved import read_others, read_saved

        if x is not None:
            beside = read_others(x, tuple(name for name in found if name != "x"))
            found |= {name: saved.values for name, saved in beside.items()}
            found["x"] = read_saved(x, "x").values
        given = {name: path for name, path in (states or {}).items() if path is not None}
        found |= {name: read_saved(path, name).values for name, path in given.items()}
        if lengths is not None:
            found["lengths"] = parse_lengths(lengths)
    return found | {
        "weights": weights,
        "prefix": prefix,
        "nonlinearity": None if nonlinearity is None else str(nonlinearity),
        "batch_first": batch_first or None,
    }


def _go(
    job: str,
    json: bool,
    implementations: list[str],
    report: bool = True,
    junit: Path | None = None,
    **arguments: Any,
) -> None:
    """Run `api.check`, `api.bench` or `api.run`, show it, and exit."""
    from rnnparity import api, extras
    from rnnparity.records.files import document
    from rnnparity.report import terminal

    if junit is not None and (junit.is_dir() or not junit.parent.is_dir()):
        raise UsageError(f"{junit} cannot be written: expected a file in a folder that is there")
    regular(xfail=arguments["xfail"])
    if report:
        extras.needed("report", "the report")
    if arguments["out"] is not None and not str(arguments["out"]).strip(". "):
        raise UsageError("--out is no folder's name: give one, which is made")
    if arguments["resume"] and arguments["out"] is None:
        raise UsageError("--resume needs --out DIR: the folder of the run to go on with")
    signal.signal(signal.SIGTERM, terminated)
    with terminal.Display(console(stderr=True)) as display:
        result = getattr(api, job)(*implementations, progress=display, **arguments)
    written = None
    if report and result.records:
        from rnnparity.report import writing

        written = writing.write(result.directory)
    if junit is not None:
        from rnnparity.report import writing

        writing.write_junit(result, junit)
    # All files are there before anything is shown: what reads it may stop reading.
    if json:
        made = [*result.records, *result.timings]
        sys.stdout.buffer.write(document(result.environment, made) + b"\n")
    else:
        terminal.show(result, console())
    if written is not None:
        console(stderr=json).print(f"report in {written}", soft_wrap=True)
    raise SystemExit(exit_code(result, implementations))
