"""The records: one JSON line per check, written as they are made, and read back."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import msgspec

from rnnparity.errors import UsageError
from rnnparity.problems.cases import Case
from rnnparity.records import disk
from rnnparity.records.check import Record
from rnnparity.records.timing import IMPLEMENTATION, Timing
from rnnparity.verdicts import Verdict

R = TypeVar("R", Record, Timing)

# A case, a device and an implementation.
Key = tuple[Case | None, str, str]

RECORDS = "records.jsonl"
TIMINGS = "timings.jsonl"
ENVIRONMENT = "environment.json"


class Recorder:
    """Appends records to a run's folder, each on disk when `write` returns; for several threads."""

    def __init__(self, directory: Path, name: str = RECORDS) -> None:
        """Make the folder and open its records for appending, without a torn last line.

        Raises:
            UsageError: they cannot be written.
        """
        self._path = directory / name
        with disk.refusing(self._path):
            directory.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)
            there = self._path.read_bytes()
            self._written = [there[: there.rfind(b"\n") + 1]]
            self._file.truncate(len(self._written[0]))
        self._lock = Lock()

    def write(self, *records: Record | Timing) -> None:
        """Append a line for each, all of them or none.

        Raises:
            UsageError: they cannot be written.
        """
        lines = _in_lines(records)
        with self._lock, disk.refusing(self._path):
            disk.append(self._file, lines)
            self._written.append(lines)

    def close(self) -> None:
        """Close the file; what somebody else has done to it meanwhile is undone.

        Raises:
            UsageError: that cannot be undone.
        """
        self._file.close()
        written = b"".join(self._written)
        try:
            if self._path.read_bytes() == written:
                return
        except OSError:  # removed, with its folder perhaps
            pass
        disk.replace(self._path, written)


def read(directory: Path, notes: list[str] | None = None) -> Iterator[Record]:
    """Read the records of a run; a torn last line, from a run that was killed, is left out.

    Args:
        directory: of the run.
        notes: gets a line for everything that cannot be read; if None, that is an error.

    Raises:
        UsageError: a line is not a record.
    """
    return _lines(directory / RECORDS, Record, notes)


def read_timings(directory: Path, notes: list[str] | None = None) -> Iterator[Timing]:
    """Read the timings of a run; a torn last line is left out.

    Args:
        directory: of the run.
        notes: gets a line for everything that cannot be read; if None, that is an error.

    Raises:
        UsageError: a line is not a timing.
    """
    return _lines(directory / TIMINGS, Timing, notes)


def _lines(path: Path, kind: type[R], notes: list[str] | None) -> Iterator[R]:
    if not path.exists():
        return
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        if not line.endswith(b"\n"):
            if notes is not None:
                notes.append(f"{path.name}, line {number} is torn: the run was ended there")
            continue
        try:
            yield msgspec.json.decode(line, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, UsageError) as error:
            told = f"line {number} is not a record of this version: {error}"
            if notes is None:
                raise UsageError(f"{path}, {told}") from None
            notes.append(f"{path.name}, {told}")


def read_environment(directory: Path) -> dict[str, Any]:
    """Read what a run was made on; empty if there is none."""
    path = directory / ENVIRONMENT
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not the environment of a run: {error}") from None


def keep(
    directory: Path,
    name: str,
    kind: type[R],
    is_kept: Callable[[R], bool],
    now: Callable[[R], R] = lambda one: one,
) -> tuple[list[R], list[R]]:
    """Reduce a run's records or timings to some of them.

    Args:
        directory: of the run.
        name: of their file.
        kind: `Record` or `Timing`.
        is_kept: whether one is.
        now: returns what one says by what is known now.

    Returns:
        Those that are kept, and those that are gone.

    Raises:
        UsageError: a line is none of them, or the file cannot be written.
    """
    path = directory / name
    kept, gone = list[R](), list[R]()
    before = list(_lines(path, kind, None))
    for one in map(now, before):
        (kept if is_kept(one) else gone).append(one)
    if kept != before:
        disk.replace(path, _in_lines(kept))
    return kept, gone


def keep_timed(
    directory: Path,
    wanted: Collection[Key],
    now: Callable[[Timing], Timing] = lambda timing: timing,
) -> list[Timing]:
    """Reduce a run's timings to whole jobs that need not be timed again, and return them.

    Args:
        directory: of the run.
        wanted: what is to have a timing in each job.
        now: returns what a timing says by what is known now.

    Raises:
        UsageError: a job must be timed again, and what took part in it is not wanted any more.
    """
    asked = {name for _, _, name in wanted}
    jobs: dict[tuple[Any, ...], list[Timing]] = {}
    for one in map(now, read_timings(directory)):
        jobs.setdefault((one.definition, one.device, one.mode), []).append(one)
    again = set()
    for job, timings in jobs.items():
        case, device, _ = job
        missing = {name for c, d, name in wanted if (c, d) == (case, device)}
        missing -= {one.implementation for one in timings if one.verdict != Verdict.ERROR}
        if not missing:
            continue
        others = {one.implementation for one in timings if one.role == IMPLEMENTATION} - asked
        if others:
            raise UsageError(
                f"{directory} has timings of {', '.join(sorted(others))} that would be lost: "
                "all of a run are timed together; name them too, or give another folder"
            )
        again.add(job)
    kept, _ = keep(
        directory,
        TIMINGS,
        Timing,
        lambda one: (one.definition, one.device, one.mode) not in again,
        now,
    )
    return kept


def _in_lines(records: Iterable[Record | Timing]) -> bytes:
    return b"".join(msgspec.json.encode(record) + b"\n" for record in records)


def document(environment: dict[str, Any], records: Sequence[Record | Timing]) -> bytes:
    """Return the one JSON document that `--json` prints."""
    return msgspec.json.format(
        msgspec.json.encode({"environment": environment, "records": records}), indent=2
    )
