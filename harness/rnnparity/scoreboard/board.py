"""A scoreboard as data."""

from enum import StrEnum

import msgspec

from rnnparity.problems.cases import Case

SCHEMA = 1


class State(StrEnum):
    """What is said of a layer and a capability."""

    RIGHT = "right"
    WRONG = "wrong"  # it returns numbers, and they are wrong: the dangerous one
    REFUSES = "refuses"  # it raises, or breaks, though it says that it can
    NOT_OFFERED = "not offered"  # it says that it cannot
    CHAOTIC = "chaotic"  # right as far as it can be judged: then rounding alone takes over
    HIDDEN = "hidden"  # wrong or refused where another column is, which it needs: not to be told


class Cell(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of a capability.

    Attributes:
        reason: what is wrong, or what it says, where it is not right.
        z: the largest error in units of predicted rounding.
        diagnosis: known mistakes that reproduce it.
        case: that is wrong or refused. smallest: with sizes at which it is still wrong.
        script: the file name of a script that shows it; "" if there is none.
        findings: names of findings about it.
    """

    state: State
    reason: str = ""
    z: float | None = None
    diagnosis: tuple[str, ...] = ()
    case: Case | None = None
    smallest: Case | None = None
    script: str = ""
    findings: tuple[str, ...] = ()


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A layer of one kind: its cells by column; none where it is absent, or broken on import.

    Attributes:
        name: of the implementation. kind: "rnn", "gru" or "lstm".
        versions: of its libraries.
        registered: whether it comes with rnnparity, so that findings may be about it.
        reason: why there is nothing.
    """

    name: str
    kind: str
    framework: str = ""
    versions: dict[str, str] = {}
    registered: bool = False
    cells: dict[str, Cell] = {}
    reason: str = ""


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """All rows; `environment` is that of a run."""

    schema: int = SCHEMA
    environment: dict[str, object] = {}
    rows: tuple[Row, ...] = ()
