"""Options and arguments that several commands have."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Nonlinearity(StrEnum):
    """The choices of `--nonlinearity`, which names and shapes of weights do not tell."""

    tanh = "tanh"
    relu = "relu"


Implementations = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[IMPL]...",
        help="Registered names (numpy-loop), files (my_rnn.py) or modules (pkg.mod). All if none. "
        "NAME@PATH: run by the Python at PATH.",
        show_default=False,
    ),
]
OnnxBackend = Annotated[
    list[Path] | None,
    typer.Option(
        "--onnx-backend",
        metavar="FILE",
        help="An ONNX runtime's file with run(model_bytes, inputs); repeatable.",
        show_default=False,
    ),
]
Peers = Annotated[
    bool, typer.Option("--peers", help="And the peers: Flax, Keras, ONNX Runtime, ...")
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="Which cases: quick, edges, full; or those of sizes, see rnnparity list "
        "[default: quick].",
        show_default=False,
    ),
]
OfSizes = Annotated[
    list[str] | None,
    typer.Option(
        "--size",
        help="T,B,I,H to time instead of a preset's; T,B with --weights; repeatable.",
        show_default=False,
    ),
]
Xfail = Annotated[
    Path | None,
    typer.Option(
        "--xfail",
        help="Expected failures, one `id pattern: reason` a line: verdict xfail, exit code 0.",
        show_default=False,
    ),
]
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
        help="Check on a weights file: safetensors, torch, .npz, Keras, Flax or ONNX.",
        show_default=False,
    ),
]
Prefix = Annotated[
    str | None,
    typer.Option(
        help="Which of several RNNs in --weights: what names begin with, or an ONNX node's name.",
        show_default=False,
    ),
]
Input = Annotated[
    Path | None,
    typer.Option(
        "--input",
        help="Input for --weights: .npy, .npz, .safetensors or CSV.",
        show_default=False,
    ),
]
Lengths = Annotated[
    str | None,
    typer.Option(help="Of the sequences of --input: 5,3,8 or a file.", show_default=False),
]
OfWeights = Annotated[
    Nonlinearity | None,
    typer.Option(
        help="Nonlinearity of --weights, where they do not tell [default: tanh].",
        show_default=False,
    ),
]
BatchFirst = Annotated[
    bool, typer.Option("--batch-first", help="--weights are batch-first, where they do not tell.")
]
Threads = Annotated[str, typer.Option(help="Threads per implementation: a number, or all.")]
Precision = Annotated[str, typer.Option(help="Of matrix products: float32, tf32 or bfloat16.")]
TanhAbsolute = Annotated[
    float, typer.Option(help="Absolute error that tanh may have besides (docs/promise.md).")
]
Memory = Annotated[
    str | None,
    typer.Option(
        help="What one implementation's process may take, as 4GB [default: half of the machine's].",
        show_default=False,
    ),
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
Report = Annotated[
    bool, typer.Option("--report", help="And write report.html, report.md and junit.xml.")
]
Junit = Annotated[
    Path | None,
    typer.Option("--junit", help="And write JUnit XML into this file.", show_default=False),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        help="Spread over a Dask cluster: its scheduler's address (tcp://host:8786) or file.",
        show_default=False,
    ),
]
Python = Annotated[
    str | None,
    typer.Option(
        "--python",
        help="Run what is named with another Python: its path, or its environment's.",
        show_default=False,
    ),
]
Pythons = Annotated[
    Path | None,
    typer.Option(
        "--pythons",
        help="File with a Python for each that needs another, one `NAME = PATH` a line.",
        show_default=False,
    ),
]
