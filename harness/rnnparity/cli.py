"""The command line. Starts fast: what a command needs is imported when it runs."""

import os
import signal
import sys
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rnnparity.defaults import BUDGET, PROCESSES, THRESHOLD, TIMEOUT
from rnnparity.errors import UsageError
from rnnparity.verdicts import Verdict

if TYPE_CHECKING:
    from rich.console import Console

    from rnnparity.records.run import Run

app = typer.Typer(
    name="rnnparity",
    help="Compare implementations of torch.nn.RNN's recurrence: parity, per framework and device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Nonlinearity(StrEnum):
    """What names and shapes of weights do not tell."""

    tanh = "tanh"
    relu = "relu"


Implementations = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[IMPL]...",
        help="Registered names (numpy-loop), files (my_rnn.py) or modules (pkg.mod). All if none.",
        show_default=False,
    ),
]
Peers = Annotated[
    bool, typer.Option("--peers", help="And the peers: Flax, Keras, ONNX Runtime, ...")
]
Preset = Annotated[str, typer.Option(help="Which cases: quick, edges or full.")]
CellKind = Annotated[
    str | None,
    typer.Option(
        "--cell",
        help="Kind of layers: rnn, gru, lstm or all [default: that of --weights or files, or rnn].",
        show_default=False,
    ),
]
Device = Annotated[
    list[str] | None,
    typer.Option(help="cpu, cuda, cuda:1, mps; repeatable. All found if none.", show_default=False),
]
Dtype = Annotated[
    list[str] | None,
    typer.Option(help="float32, float64, bfloat16, float16; repeatable.", show_default=False),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        help="Check on the weights in a .safetensors, .pt or .onnx file.", show_default=False
    ),
]
Prefix = Annotated[
    str | None,
    typer.Option(help="What names begin with, if --weights has several RNNs.", show_default=False),
]
Input = Annotated[
    Path | None,
    typer.Option("--input", help="Input for --weights: a .npy file.", show_default=False),
]
Lengths = Annotated[
    str | None,
    typer.Option(help="Of the sequences of --input: 5,3,8 or a .npy file.", show_default=False),
]
OfWeights = Annotated[Nonlinearity, typer.Option(help="Nonlinearity of --weights.")]
BatchFirst = Annotated[bool, typer.Option("--batch-first", help="--weights are batch-first.")]
Threads = Annotated[str, typer.Option(help="Threads per implementation: a number, or all.")]
Precision = Annotated[str, typer.Option(help="Of matrix products: float32, tf32 or bfloat16.")]
TanhAbsolute = Annotated[
    float, typer.Option(help="Absolute error that tanh may have besides (docs/promise.md).")
]
Timeout = Annotated[float, typer.Option(help="Seconds for one case, compilation included.")]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the records [default: results/<time>-<preset>].", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
Chosen = Annotated[
    list[str] | None,
    typer.Option("--case", help="Only the case of this id; repeatable.", show_default=False),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")]


@app.command("list")
def list_command(json: Json = False) -> None:
    """List implementations, their devices, the presets, and why something is absent."""
    from rnnparity.report import listing

    console = _console()
    with console.status("asking each implementation") if not json else _quiet():
        found = listing.collect()
    if json:
        sys.stdout.write(listing.document(found))
    else:
        listing.show(found, console)


@app.command()
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
    nonlinearity: OfWeights = Nonlinearity.tanh,
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
        nonlinearity=str(nonlinearity),
        batch_first=batch_first,
        settings=_settings(threads, matmul_precision, tanh_absolute),
        out=out,
        resume=resume,
        timeout=timeout,
    )


@app.command()
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
        settings=_settings(threads, matmul_precision, tanh_absolute),
        processes=processes,
        budget=budget,
        out=out,
        resume=resume,
        timeout=timeout,
    )


@app.command()
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
        settings=_settings(threads, matmul_precision, tanh_absolute),
        out=out,
        resume=resume,
        timeout=timeout,
    )


@app.command()
def report(
    directories: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders of runs; several: what changed.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the report [default: the run's].", show_default=False),
    ] = None,
) -> None:
    """Make a run's report again: report.html, report.md, junit.xml.

    Of several runs: print what changed; with --out, write trend.html and trend.md.
    """
    from rnnparity.report import writing

    if len(directories) > 1:
        sys.stdout.write(writing.compared(directories, out))
        return
    sys.stdout.write(f"report in {writing.write(directories[0], out)}\n")


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="Folder of the earlier run.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="Folder of the later run.")],
    threshold: Annotated[
        float, typer.Option(help="Smallest change that counts, as a share: 0.05 is 5%.")
    ] = THRESHOLD,
) -> None:
    """Compare the timings of two runs. Exit code 1 if something became slower, or fails now."""
    from rnnparity.records import files
    from rnnparity.report import timing_table
    from rnnparity.timing import comparison

    for folder in (before, after):
        if not (folder / files.TIMINGS).exists():
            raise UsageError(f"{folder} has no {files.TIMINGS}: give the folder of a timing run")
    earlier, later = (list(files.read_timings(folder)) for folder in (before, after))
    changes = comparison.compare(earlier, later, threshold)
    timing_table.show_changes(changes, comparison.others(earlier, later), _console())
    worse = (comparison.SLOWER, comparison.LOST)
    raise SystemExit(1 if any(change.verdict in worse for change in changes) else 0)


@app.command()
def new(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="What to write: my_rnn.py.")],
    framework: Annotated[str, typer.Option(help="numpy, jax or torch.")] = "numpy",
    cell: Annotated[str, typer.Option(help="Kind of layers: rnn, gru or lstm.")] = "rnn",
) -> None:
    """Write a starter implementation that passes `rnnparity check FILE` as it is."""
    from importlib.resources import files

    from rnnparity.cells.config import KINDS
    from rnnparity.implementations.frameworks import FRAMEWORKS

    if framework not in FRAMEWORKS:
        raise UsageError(f"no framework {framework!r}: there are {', '.join(FRAMEWORKS)}")
    if cell not in KINDS:
        raise UsageError(f"no cell {cell!r}: there are {', '.join(KINDS)}")
    if path.suffix != ".py":
        raise UsageError(f"{path} is no name of a Python file: expected one that ends in .py")
    starter = files("rnnparity") / "templates" / cell / f"{framework}.py.txt"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(starter.read_text(encoding="utf-8").replace("THIS_FILE", str(path)))
    except FileExistsError:
        raise UsageError(f"{path} is there already: give another name") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    sys.stdout.write(f"wrote {path}; check it: rnnparity check {path}\n")


@app.command()
def export(
    target: Annotated[Path, typer.Argument(metavar="OUT.onnx", help="What to write.")],
    weights: Annotated[Path, typer.Option(help="A .safetensors or .pt file.")],
    prefix: Prefix = None,
    cell: Annotated[str | None, typer.Option(help="Kind of layers: rnn, gru or lstm.")] = None,
    nonlinearity: OfWeights = Nonlinearity.tanh,
    batch_first: BatchFirst = False,
    lengths: Annotated[
        bool, typer.Option("--lengths", help="With an input for sequences of unequal length.")
    ] = False,
) -> None:
    """Write weights as an ONNX model, which ONNX Runtime and others read."""
    from rnnparity.problems import onnx_writer
    from rnnparity.problems import weights as reader

    if target.suffix != ".onnx":
        raise UsageError(f"{target} is no ONNX file: expected a name that ends in .onnx")
    if weights.suffix.lower() == ".onnx":
        raise UsageError(f"{weights} is an ONNX model already: give .safetensors or .pt")
    parameters = reader.read(weights, prefix, cell)
    config = reader.infer_config(
        parameters, cell, nonlinearity=str(nonlinearity), batch_first=batch_first
    )
    try:
        onnx_writer.write(target, parameters, config, lengths)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}") from None
    sys.stdout.write(f"wrote {target}\n")


@app.command()
def selftest(
    full: Annotated[
        bool, typer.Option("--full", help="Many more cases: more than half an hour on 2 cores.")
    ] = False,
    timing: Annotated[
        bool, typer.Option("--timing", help="Test the intervals of timings instead.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the random cases.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report.", show_default=False)
    ] = None,
) -> None:
    """Test the verdict itself: right implementations must pass, known mistakes must fail."""
    from rnnparity.records.environment import write_environment

    signal.signal(signal.SIGTERM, _terminated)
    passed, parts, file = _trials(full) if timing else _selftest(full, seed)
    sys.stdout.write("\n\n".join(parts[:3]) + "\n")
    if out is not None:
        write_environment(out, _settings("1", "float32"))
        (out / file).write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        sys.stdout.write(f"\nwritten to {out / file}\n")
    raise SystemExit(0 if passed else 1)


def _selftest(full: bool, seed: int) -> tuple[bool, list[str], str]:
    """Return whether the verdict is right, what is to be told of it, and the report's name."""
    from rnnparity.report import terminal
    from rnnparity.selftest import drawing, tables, verdict

    plans = drawing.plans(full, seed)
    totals = {
        "soundness": sum(len(group) for plan in plans.values() for group in plan.groups),
        "sensitivity": sum(len(plan.mistakes) for plan in plans.values()),
    }
    with terminal.stages(totals, _console(stderr=True)) as advance:
        found = verdict.selftest(plans, progress=advance)
    return found.passed, tables.parts(found), "selftest.md"


def _trials(full: bool) -> tuple[bool, list[str], str]:
    """Return whether intervals of timings are right, what is to be told, and the report's name."""
    from rnnparity.report import terminal
    from rnnparity.selftest import trials as tester

    count = 200 if full else 5
    with terminal.stages({"trials": count}, _console(stderr=True)) as advance:
        found = tester.trials(count, progress=partial(advance, "trials"))
    return found.passed, [tester.summary(found)], "trials.md"


def main() -> None:
    """Run the command line; a usage error is one line and exit code 2."""
    try:
        app()
    except UsageError as error:
        sys.stderr.write(f"rnnparity: {error}\n")
        raise SystemExit(2) from None
    except BrokenPipeError:  # whoever read our output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def _go(job: str, json: bool, implementations: list[str], **arguments: Any) -> None:
    """Run `api.check`, `api.bench` or `api.run`, show it, and exit."""
    from rnnparity import api
    from rnnparity.records.files import document
    from rnnparity.report import terminal

    if arguments["resume"] and arguments["out"] is None:
        raise UsageError("--resume needs --out DIR: the folder of the run to go on with")
    signal.signal(signal.SIGTERM, _terminated)
    with terminal.Display(_console(stderr=True)) as display:
        result = getattr(api, job)(*implementations, progress=display, **arguments)
    if json:
        made = [*result.records, *result.timings]
        sys.stdout.buffer.write(document(result.environment, made) + b"\n")
    else:
        terminal.show(result, _console())
    if job != "check" and result.records:
        from rnnparity.report import writing

        _console(stderr=json).print(f"report in {writing.write(result.directory)}", soft_wrap=True)
    raise SystemExit(_exit_code(result, implementations))


def _terminated(*_: object) -> None:
    """Stop as on Ctrl-C: workers ended, records kept."""
    raise KeyboardInterrupt


def _exit_code(result: "Run", asked_for: list[str]) -> int:
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


def _settings(threads: str, matmul_precision: str, tanh_absolute: float = 0.0) -> Any:
    from rnnparity.implementations.settings import Settings
    from rnnparity.records.environment import usable_cores

    if threads != "all" and not threads.isdecimal():
        raise UsageError(f"threads is {threads!r}, expected a number of 1 or more, or all")
    count = usable_cores() if threads == "all" else int(threads)
    if count > usable_cores():
        raise UsageError(f"threads is {count}, expected at most {usable_cores()}, the cores here")
    return Settings(threads=count, matmul_precision=matmul_precision, tanh_absolute=tanh_absolute)


def _console(stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False)


def _quiet() -> Any:
    from contextlib import nullcontext

    return nullcontext()
