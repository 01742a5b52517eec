"""The table of errors by quantity, as plain data: for each kind of layers and device."""

from collections import Counter
from dataclasses import dataclass
from math import inf

from rnnparity.cells.config import KINDS
from rnnparity.judging.limit import LIMIT
from rnnparity.problems.quantities import quantity
from rnnparity.records.check import Record
from rnnparity.records.run import Run
from rnnparity.verdicts import Verdict

COLUMNS = ("output", "h_n", "grad x", "grad h0", "grad W")

# Of an LSTM, whose c is told with h: in columns of its own the table is wider than 80 characters.
WITH_C = {"h_n": "h, c", "grad h0": "grad\nh, c"}


@dataclass(frozen=True)
class Row:
    """The largest error of every quantity, in units, of an implementation; infinity: not finite.

    `difference` is the largest from torch's own, `counts` how often there was which verdict.
    """

    implementation: str
    errors: tuple[float | None, ...]
    difference: float | None
    counts: Counter[Verdict]

    @property
    def worst(self) -> Verdict:
        """The verdict that stands for all."""
        return next(v for v in Verdict if self.counts[v])

    @property
    def tally(self) -> str:
        """How many pass, and what else there was."""
        return tally(self.counts)


@dataclass(frozen=True)
class ErrorTable:
    """The rows of a kind of layers on a device."""

    cell: str
    device: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """What the table shows."""
        where = self.device if self.cell == "rnn" else f"{self.cell.upper()}, {self.device}"
        return f"{where}: largest error, in units of predicted rounding (limit {LIMIT:g})"

    @property
    def beside(self) -> str:
        """The heading of the differences from torch's own, which are no units."""
        return f"diff to nn.{self.cell.upper()}"

    @property
    def shown_columns(self) -> list[str]:
        """The columns as they are headed."""
        return [WITH_C.get(c, c) if self.cell == "lstm" else c for c in self.columns]


def tables(run: Run) -> list[ErrorTable]:
    """Return a table for every kind of layers and device on which something was checked."""
    checked = [record for record in run.records if record.definition is not None]
    made = []
    for cell in KINDS:
        own = [record for record in checked if record.cell == cell]
        for device in dict.fromkeys(record.device for record in own):
            made.append(_table(cell, device, [r for r in own if r.device == device]))
    return made


def tally(counts: Counter[Verdict]) -> str:
    """Return how many pass, and what else there was: "79/81 pass, 2 chaotic"."""
    others = [f"{counts[v]} {v}" for v in Verdict if v != Verdict.PASS and counts[v]]
    return ", ".join([f"{counts[Verdict.PASS]}/{sum(counts.values())} pass", *others])


def short(value: float | None) -> str:
    """Return a number in at most five characters: 3.4, 120, 2e7, 3e-6; "-" if there is none."""
    if value is None:
        return "-"
    if value == 0 or 0.01 <= value < 1000 or value == inf:
        return f"{value:.2g}" if value < 10 else f"{value:.0f}"
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _table(cell: str, device: str, records: list[Record]) -> ErrorTable:
    found = {_column(name) for record in records for name in record.quantities}
    columns = tuple(column for column in COLUMNS if column in found)
    rows = []
    for implementation in dict.fromkeys(record.implementation for record in records):
        own = [record for record in records if record.implementation == implementation]
        errors = tuple(_largest(own, column) for column in columns)
        counts = Counter(record.verdict for record in own)
        rows.append(Row(implementation, errors, _difference(own), counts))
    return ErrorTable(cell, device, columns, tuple(rows))


def _column(name: str) -> str:
    """Return the column of a quantity; states of one kind share one."""
    of = quantity(name)
    kind = "W" if of.is_parameter else {"c_n": "h_n", "c0": "h0"}.get(of.kind, of.kind)
    return f"grad {kind}" if of.is_gradient else kind


def _largest(records: list[Record], column: str) -> float | None:
    found = [
        inf if q.z is None else q.z
        for record in records
        for name, q in record.quantities.items()
        if _column(name) == column
    ]
    return max(found, default=None)


def _difference(records: list[Record]) -> float | None:
    found = [
        difference.max_abs_difference_to_torch_rnn
        for record in records
        # What grew from rounding alone is no difference between two implementations.
        if record.dtype in ("float32", "float64") and record.verdict != Verdict.CHAOTIC
        for difference in record.quantities.values()
        if difference.max_abs_difference_to_torch_rnn is not None
    ]
    return max(found, default=None)
