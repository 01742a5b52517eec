"""Files for others: new, export."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from rnnparity.cli.options import BatchFirst, Nonlinearity, OfWeights, Prefix
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
    target: Annotated[Path, typer.Argument(metavar="OUT.onnx", help="What to write.")],
    weights: Annotated[Path, typer.Option(help="A weights file.")],
    prefix: Prefix = None,
    cell: Annotated[str | None, typer.Option(help="Kind of layers: rnn, gru or lstm.")] = None,
    nonlinearity: OfWeights = None,
    batch_first: BatchFirst = False,
    lengths: Annotated[
        bool, typer.Option("--lengths", help="With an input for sequences of unequal length.")
    ] = False,
) -> None:
    """Write weights as an ONNX model, which ONNX Runtime and others read."""
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
