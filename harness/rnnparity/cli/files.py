"""Files for others: new, export."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from rnnparity.cli.options import BatchFirst, Dtype, Nonlinearity, OfWeights, Prefix
from rnnparity.cli.shared import regular
from rnnparity.errors import UsageError, no_such


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
        raise UsageError(no_such("framework", framework, FRAMEWORKS))
    if cell not in KINDS:
        raise UsageError(no_such("cell", cell, KINDS))
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


def export(
    target: Annotated[
        Path | None,
        typer.Argument(metavar="[OUT.onnx]", help="What to write.", show_default=False),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="A weights file.", show_default=False)
    ] = None,
    prefix: Prefix = None,
    cell: Annotated[
        str | None,
        typer.Option(
            help="Kind of layers: rnn, gru or lstm; with --cases also all, the default.",
            show_default=False,
        ),
    ] = None,
    nonlinearity: OfWeights = None,
    batch_first: BatchFirst = False,
    lengths: Annotated[
        bool, typer.Option("--lengths", help="With an input for sequences of unequal length.")
    ] = False,
    cases: Annotated[
        Path | None,
        typer.Option(
            "--cases",
            metavar="DIR",
            help="Write rnnparity's cases instead: models, inputs, expected outputs, units.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Which --cases: quick (the default), edges, full.", show_default=False),
    ] = None,
    dtype: Dtype = None,
) -> None:
    """Write weights as an ONNX model, or cases by which any runtime can be judged from files."""
    of_weights = (target, weights, prefix, nonlinearity, batch_first, lengths)
    if cases is not None:
        if any(of_weights):
            raise UsageError(
                "--cases writes weights of its own: of the others it goes with --preset, --cell "
                "and --dtype only"
            )
        return _export_cases(cases, preset, cell, dtype)
    if preset is not None or dtype is not None:
        raise UsageError("--preset and --dtype go with --cases DIR: give it, too")
    if target is None or weights is None:
        raise UsageError("expected OUT.onnx and --weights FILE, or --cases DIR")
    return _export_weights(target, weights, prefix, cell, nonlinearity, batch_first, lengths)


def _export_cases(
    directory: Path, preset: str | None, cell: str | None, dtype: list[str] | None
) -> None:
    from rnnparity.problems import presets
    from rnnparity.runs import exported, plan

    found = [
        case
        for kind in plan.kinds(cell or plan.EVERY, ())
        for case in presets.preset(preset or "quick", kind)
    ]
    count = exported.write(directory, plan.in_dtypes(found, plan.dtypes(dtype)))
    sys.stdout.write(f"wrote {count} cases into {directory}\n")


def _export_weights(
    target: Path,
    weights: Path,
    prefix: str | None,
    cell: str | None,
    nonlinearity: Nonlinearity | None,
    batch_first: bool,
    lengths: bool,
) -> None:
    from rnnparity.problems import weights as reader
    from rnnparity.problems.weights import onnx_writer
    from rnnparity.problems.weights.formats import format_of

    regular(weights=weights, out=target)
    if target.suffix != ".onnx":
        raise UsageError(f"{target} is no ONNX file: expected a name that ends in .onnx")
    if format_of(weights) == "onnx":
        raise UsageError(f"{weights} is an ONNX model already: give another weights file")
    parameters = reader.read(weights, prefix, cell)
    config = reader.infer_config(
        parameters,
        cell,
        nonlinearity=str(nonlinearity or Nonlinearity.tanh),
        batch_first=batch_first,
    )
    try:
        onnx_writer.write(target, parameters, config, lengths)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}") from None
    sys.stdout.write(f"wrote {target}\n")
