"""What layers can do, do wrong and refuse: scoreboard."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from rnnparity.cli.options import Implementations, OnnxBackend, Python, Pythons, Timeout
from rnnparity.cli.shared import other_python
from rnnparity.defaults import TIMEOUT


def scoreboard(
    implementations: Implementations = None,
    onnx_backend: OnnxBackend = None,
    cell: Annotated[str, typer.Option(help="Kind of layers: rnn, gru, lstm or all.")] = "all",
    timeout: Timeout = TIMEOUT,
    out: Annotated[
        Path, typer.Option(help="Folder of the data, the Markdown, the page and the scripts.")
    ] = Path("scoreboard"),
    python: Python = None,
    pythons: Pythons = None,
) -> None:
    """Try each capability of each layer: right, wrong, refuses, not offered.

    All layers with the peers if none is named. Exit code 0, whatever comes out.
    """
    from rnnparity import extras
    from rnnparity.errors import UsageError, writing_into
    from rnnparity.implementations.settings import Settings
    from rnnparity.records.environment import environment
    from rnnparity.runs import plan as plans
    from rnnparity.scoreboard import trying
    from rnnparity.scoreboard.board import Board, Row, State

    extras.needed("report", "the scoreboard")
    from rnnparity.scoreboard import writing

    if not timeout > 0:
        raise UsageError(f"timeout is {timeout:g}, expected more than 0")
    named: list[Any] = [*(implementations or ())]
    kinds = plans.kinds(cell, named)
    backends = [str(one) for one in onnx_backend or ()]
    specs = plans.specs(
        named,
        peers=not named and not backends,
        kinds=kinds,
        python=other_python(python, pythons),
        backends=backends,
    )

    ready: list[Row] = []

    def done(row: Row) -> None:
        ready.append(row)
        states = [cell.state for cell in row.cells.values()]
        bad = {
            state: [name for name, cell in row.cells.items() if cell.state == state]
            for state in (State.WRONG, State.REFUSES)
        }
        told = [f"{states.count(State.RIGHT)} right"]
        told += [f"{state}: {', '.join(names)}" for state, names in bad.items() if names]
        sys.stdout.write(f"{row.name} ({row.kind}): {row.reason or '; '.join(told)}\n")
        sys.stdout.flush()

    settings = Settings()
    made: list[Row] = []
    with writing_into(out), TemporaryDirectory(prefix="rnnparity-") as folder:
        try:
            made += trying.rows(specs, settings, timeout, Path(folder), done)
        finally:  # what was made before somebody stopped it is not lost
            rows = made or ready
            writing.write(Board(environment=environment(settings), rows=tuple(rows)), out)
    sys.stdout.write(f"{out / writing.PAGE}\n")
