"""Judging what was computed elsewhere: judge."""

import sys
from typing import Annotated

import typer

from rnnparity.cli.options import (
    BatchFirst,
    Json,
    Memory,
    OfWeights,
    Out,
    Precision,
    Prefix,
    TanhAbsolute,
    Weights,
)
from rnnparity.cli.shared import console, exit_code, regular, settings
from rnnparity.errors import UsageError

_FILE = "a .npy, .npz, .safetensors or CSV file"


def judge(
    weights: Weights = None,
    input_: Annotated[
        str | None, typer.Option("--input", help=f"The port's x: {_FILE}.", show_default=False)
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(help=f"What it returned, of every step: {_FILE}.", show_default=False),
    ] = None,
    h_n: Annotated[
        str | None, typer.Option("--h-n", help="Its last hidden state(s).", show_default=False)
    ] = None,
    c_n: Annotated[
        str | None, typer.Option("--c-n", help="An LSTM's last c.", show_default=False)
    ] = None,
    h0: Annotated[
        str | None, typer.Option(help="Its initial state [default: zeros].", show_default=False)
    ] = None,
    c0: Annotated[
        str | None, typer.Option(help="An LSTM's initial c, with --h0.", show_default=False)
    ] = None,
    lengths: Annotated[
        str | None, typer.Option(help="Of the sequences: 5,3,8 or a file.", show_default=False)
    ] = None,
    cell: Annotated[
        str | None,
        typer.Option(
            help="rnn, gru or lstm [default: what the weights are of].", show_default=False
        ),
    ] = None,
    prefix: Prefix = None,
    nonlinearity: OfWeights = None,
    batch_first: BatchFirst = False,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="What the port computed in [default: the coarser of weights and output].",
            show_default=False,
        ),
    ] = None,
    matmul_precision: Precision = "float32",
    tanh_absolute: TanhAbsolute = 0.0,
    memory: Memory = None,
    name: Annotated[
        str | None, typer.Option(help="What the port goes by.", show_default=False)
    ] = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Judge outputs that a port wrote to files. Exit codes as for check."""
    from rnnparity import api
    from rnnparity.problems import given
    from rnnparity.records.files import document
    from rnnparity.report import terminal

    regular(weights=weights, input=input_, output=output, h_n=h_n, c_n=c_n, h0=h0, c0=c0)
    regular(lengths=lengths)
    if weights is None or input_ is None:
        missing = "--weights" if weights is None else "--input"
        raise UsageError(f"{missing} is missing: expected the file that the port was given")
    result = api.judge(
        output,
        h_n,
        c_n,
        weights=weights,
        x=input_,
        h0=h0,
        c0=c0,
        lengths=None if lengths is None else given.parse_lengths(lengths),
        cell=cell,
        prefix=prefix,
        nonlinearity=None if nonlinearity is None else str(nonlinearity),
        batch_first=batch_first or None,
        dtype=dtype,
        name=name,
        settings=settings("1", matmul_precision, tanh_absolute, memory),
        out=out,
    )
    if json:
        sys.stdout.buffer.write(document(result.environment, result.records) + b"\n")
    else:
        terminal.show(result, console())
    raise SystemExit(exit_code(result, []))
