"""The records: one JSON line per check, written as they are made, and read back."""

from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec

from rnnparity.cases import Case, full_id

VERDICTS = ("pass", "fail", "chaotic", "unsupported", "absent", "error")
RECORDS = "records.jsonl"
ENVIRONMENT = "environment.json"


class Quantity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one quantity (`output`, `h_n`, ...) differs from the truth.

    Attributes:
        max_abs_error: the largest absolute error; null where it is not finite.
        max_ulp: the largest error in units in the last place of the dtype at the truth.
        index: where the largest absolute error is.
        limit: the largest absolute error that passes.
        max_abs_difference_to_torch_rnn: from `torch.nn.RNN` on the CPU, where it was run.
    """

    max_abs_error: float | None
    max_ulp: float | None
    index: tuple[int, ...]
    limit: float
    max_abs_difference_to_torch_rnn: float | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one implementation on one case on one device.

    `absent`, and an `error` on import, concern no case: `case` is then empty.
    """

    implementation: str
    framework: str
    device: str
    dtype: str
    case: str
    verdict: str
    reason: str
    quantities: dict[str, Quantity] = {}
    definition: Case | None = None

    @property
    def id(self) -> str:
        """The check's full id."""
        if self.definition is None:
            return self.implementation
        return full_id(self.implementation, self.device, self.definition)


class Recorder:
    """Appends records to a run's folder, one flushed line each; safe to share between threads."""

    def __init__(self, directory: Path) -> None:
        """Make the folder and open its records for appending."""
        directory.mkdir(parents=True, exist_ok=True)
        self._file = (directory / RECORDS).open("ab")
        self._lock = Lock()

    def write(self, record: Record) -> None:
        """Append one line."""
        with self._lock:
            self._file.write(msgspec.json.encode(record) + b"\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(directory: Path) -> Iterator[Record]:
    """Read the records of a run; a torn last line, from a run that was killed, is left out."""
    path = directory / RECORDS
    if not path.exists():
        return
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield msgspec.json.decode(line, type=Record)


def drop_torn_line(directory: Path) -> None:
    """Cut off a last line that was not written to its end, so that a run can go on after it."""
    path = directory / RECORDS
    if path.exists():
        content = path.read_bytes()
        path.write_bytes(content[: content.rfind(b"\n") + 1])


def document(environment: dict[str, Any], records: list[Record]) -> bytes:
    """Return the one JSON document that `--json` prints."""
    return msgspec.json.format(
        msgspec.json.encode({"environment": environment, "records": records}), indent=2
    )
