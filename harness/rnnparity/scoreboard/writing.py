"""A scoreboard as files: data, Markdown, a page, a script for each wrong cell that can have one."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from rnnparity.errors import one_line
from rnnparity.problems.cases import Case
from rnnparity.report import page
from rnnparity.scoreboard import scripts
from rnnparity.scoreboard.board import Board, Cell, Row, State
from rnnparity.scoreboard.capabilities import EMPTY, GRADIENTS, of_kind
from rnnparity.scoreboard.known import findings

DATA, MARKDOWN, PAGE, SCRIPTS = "scoreboard.json", "scoreboard.md", "scoreboard.html", "scripts"

# What a cell is in Markdown; the page has the words.
SHORT = {
    State.RIGHT: "✓",
    State.WRONG: "**wrong**",
    State.REFUSES: "refuses",
    State.NOT_OFFERED: "-",
    State.CHAOTIC: "chaotic",
    State.HIDDEN: "·",
}
LEGEND = (
    "✓ right; **wrong**: it returns something wrong and says nothing; refuses: it raises or "
    "crashes, and has not said that it lacks this; - not offered: it says so; chaotic: right as "
    "far as it can be judged; · unknown: it fails, but so does a column that this depends on. A "
    "row without cells is not here: see Versions."
)
FINDINGS = "https://github.com/rnnparity/rnnparity/blob/main/docs/findings"
TITLES = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}


def write(board: Board, directory: Path) -> Board:
    """Write all files of a board into a folder, and return it with the names of its scripts.

    Those of a board that is there already are replaced, with its scripts.
    """
    for path in _scripts_of(directory):
        path.unlink(missing_ok=True)
    rows = []
    for row in board.rows:
        cells = {column: _told(row, column, cell, directory) for column, cell in row.cells.items()}
        rows.append(msgspec.structs.replace(row, cells=cells))
    board = msgspec.structs.replace(board, rows=tuple(rows))
    text = msgspec.json.format(msgspec.json.encode(board), indent=1)
    (directory / DATA).write_bytes(text + b"\n")
    (directory / MARKDOWN).write_text("\n".join(lines(board)) + "\n", encoding="utf-8")
    (directory / PAGE).write_text(render(board), encoding="utf-8")
    return board


def _scripts_of(directory: Path) -> list[Path]:
    """Return the scripts of the board that is in a folder, if one is."""
    try:
        board = read(directory)
    except (OSError, msgspec.MsgspecError):
        return []
    names = [Path(cell.script).name for row in board.rows for cell in row.cells.values()]
    return [directory / SCRIPTS / name for name in names if name]


def read(directory: Path) -> Board:
    """Return the board of a folder."""
    return msgspec.json.decode((directory / DATA).read_bytes(), type=Board)


def _told(row: Row, column: str, cell: Cell, directory: Path) -> Cell:
    """Return a cell with its script, which is written, and the findings that are known of it."""
    if cell.state not in (State.WRONG, State.REFUSES):
        return cell
    if not row.registered:  # its name says nothing of what it is
        return cell
    name, text = "", ""
    if cell.state == State.WRONG and cell.smallest is not None and column not in (EMPTY, GRADIENTS):
        name = file_name(f"{row.name}-{row.kind}-{column}")
        what = next(one.what for one in of_kind(row.kind) if one.name == column)
        text = scripts.script(
            row.name,
            cell.smallest,
            f"{row.name} ({TITLES[row.kind]}), {column}: {what}.",
            f"{cell.reason}.",
        )
    if text:
        (directory / SCRIPTS).mkdir(exist_ok=True)
        (directory / SCRIPTS / name).write_text(text, encoding="utf-8")
    known = findings(row.name, column)
    return msgspec.structs.replace(cell, script=name if text else "", findings=known)


def file_name(text: str) -> str:
    """Return a text as the name of a Python file: letters, digits and hyphens."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-") + ".py"


def sizes(case: Case) -> str:
    """Return a case's sizes in words, and what it has besides one layer in float32."""
    config = case.config
    words = {
        case.dtype: case.dtype != "float32",
        config.nonlinearity: config.nonlinearity != "tanh",
        "no bias": not config.bias,
        f"{config.num_layers} layers": config.num_layers > 1,
        "both directions": config.bidirectional,
        "batch first": config.batch_first,
        "unequal lengths": case.ragged,
        "an initial state": case.h0,
        "one more step": case.one_more_step,
    }
    told = f"T={case.T} B={case.B or 1} I={config.input_size} H={config.hidden_size}"
    return ", ".join([told, *(word for word, has in words.items() if has)])


def lines(board: Board) -> Iterator[str]:
    """Yield the board as Markdown."""
    yield "# Scoreboard"
    yield ""
    yield f"Recurrent layers of other libraries, and torch's, on {page.machine(board.environment)}."
    yield f"rnnparity {board.environment.get('rnnparity', '')}, by `rnnparity scoreboard`."
    yield "The same as a page: [scoreboard.html](scoreboard.html)."
    yield ""
    yield LEGEND
    for kind, title in TITLES.items():
        rows = [row for row in board.rows if row.kind == kind]
        if not rows:
            continue
        columns = [one.name for one in of_kind(kind)]
        yield ""
        yield f"## {title}"
        yield ""
        yield "| | " + " | ".join(columns) + " |"
        yield "|---|" + "---|" * len(columns)
        for row in rows:
            told = [SHORT[row.cells[one].state] if one in row.cells else "" for one in columns]
            yield f"| {escaped(row.name)} | " + " | ".join(told) + " |"
    yield ""
    yield "## What is tried"
    yield ""
    every = {one.name: one.what for kind in TITLES for one in of_kind(kind)}
    yield from (f"- **{name}**: {what}" for name, what in every.items())
    yield from _of_state(board, State.WRONG, "What is wrong")
    yield from _of_state(board, State.REFUSES, "What is refused")
    yield ""
    yield "## Versions"
    yield ""
    for name, versions in _versions(board).items():
        yield f"- {escaped(name)}: {escaped(versions)}"


def _of_state(board: Board, state: State, title: str) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    yield ""
    for row in board.rows:
        for column, cell in row.cells.items():
            if cell.state == state:
                where = f"{escaped(row.name)} ({TITLES[row.kind]}), {column}"
                yield f"- **{where}**: {escaped(about(cell))}{_links(cell)}"


def escaped(text: str) -> str:
    """Return anybody's text as Markdown shows it, in a table, too."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", one_line(text, 2000))


def about(cell: Cell) -> str:
    """Return what is to be said of a cell, in one line."""
    told = [" ".join(cell.reason.split("Stack backtrace")[0].split())]
    if cell.diagnosis:
        told.append(f"as if {' or '.join(cell.diagnosis)}")
    if cell.smallest is not None:
        told.append(f"down to {sizes(cell.smallest)}")
    elif cell.case is not None:
        told.append(f"at {sizes(cell.case)}")
    return "; ".join(one for one in told if one)


def _links(cell: Cell) -> str:
    links = [f"[script](scripts/{cell.script})"] if cell.script else []
    links += [f"[{one}]({FINDINGS}/{one}/README.md)" for one in cell.findings]
    return f" ({', '.join(links)})" if links else ""


def _versions(board: Board) -> dict[str, str]:
    """Return the versions of each layer's libraries, or why it is not here; alike kinds once."""
    found: dict[str, str] = {}
    for row in board.rows:
        told = ", ".join(" ".join(one) for one in row.versions.items()) or row.reason
        found.setdefault(row.name, told)
    return found


def render(board: Board) -> str:
    """Return the board as a page that needs no other file, but for scripts and findings."""
    tables = [
        (title, of_kind(kind), [row for row in board.rows if row.kind == kind])
        for kind, title in TITLES.items()
    ]
    return page.filled(
        "scoreboard.html.j2",
        {},
        {},
        title="scoreboard",
        machine=page.machine(board.environment),
        version=board.environment.get("rnnparity", ""),
        tables=[one for one in tables if one[2]],
        about=about,
        versions=_versions(board),
        classes=CLASSES,
        signs=SIGNS,
        findings=FINDINGS,
    )


# States that a page has a sign for; the others, which are looked for, are words.
SIGNS = {state: "" for state in State} | {
    State.RIGHT: "✓",
    State.NOT_OFFERED: "-",
    State.HIDDEN: "·",
}

# The page's colours, by state.
CLASSES = {
    State.RIGHT: "pass",
    State.WRONG: "fail",
    State.REFUSES: "refuses",
    State.NOT_OFFERED: "unsupported",
    State.CHAOTIC: "chaotic",
    State.HIDDEN: "hidden-cell",
}
