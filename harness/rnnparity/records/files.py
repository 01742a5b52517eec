"""The records: one JSON line per check, written as they are made, and read back."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import msgspec

from rnnparity.errors import UsageError
from rnnparity.problems.cases import Case
from rnnparity.records.check import Record
from rnnparity.records.timing import Timing
from rnnparity.verdicts import Verdict

R = TypeVar("R")

# A case, a device and an implementation.
Key = tuple[Case | None, str, str]

RECORDS = "records.jsonl"
TIMINGS = "timings.jsonl"
ENVIRONMENT = "environment.json"


class Recorder:
    """Appends records to a run's folder, one flushed line each; safe to share between threads."""

    def __init__(self, directory: Path, name: str = RECORDS) -> None:
        """Make the folder and open its records for appending."""
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / name
        self._file = self._path.open("ab")
        self._written = [self._path.read_bytes()]
        self._lock = Lock()

    def write(self, record: Record | Timing) -> None:
        """Append one line."""
        line = msgspec.json.encode(record) + b"\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()
            self._written.append(line)

    def close(self) -> None:
        """Close the file; what somebody else has done to it meanwhile is undone."""
        self._file.close()
        written = b"".join(self._written)
        try:
            if self._path.read_bytes() == written:
                return
        except OSError:  # removed, with its folder perhaps
            pass
        self._path.parent.mkdir(parents=True, exist_ok=True)
        _replace(self._path, written)


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


def keep_decided(
    directory: Path, now: Callable[[Record], Record] = lambda record: record
) -> list[Record]:
    """Reduce a run's records to those that a later run need not make again, and return them.

    Errors go, since their cause may be mended, and so does what concerns no case.

    Args:
        directory: of the run.
        now: returns what a record says by what is known now.
    """
    found = [now(record) for record in read(directory) if record.definition is not None]
    kept = [record for record in found if record.verdict != Verdict.ERROR]
    _rewrite(directory / RECORDS, kept)
    return kept


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
    kept = []
    for (case, device, _), timings in jobs.items():
        missing = {name for c, d, name in wanted if (c, d) == (case, device)}
        missing -= {one.implementation for one in timings if one.verdict != Verdict.ERROR}
        if not missing:
            kept += timings
            continue
        others = {one.implementation for one in timings if one.role == "implementation"} - asked
        if others:
            raise UsageError(
                f"{directory} has timings of {', '.join(sorted(others))} that would be lost: "
                "all of a run are timed together; name them too, or give another folder"
            )
    _rewrite(directory / TIMINGS, kept)
    return kept


def _rewrite(path: Path, kept: Iterable[Record | Timing]) -> None:
    if path.exists():
        _replace(path, b"".join(msgspec.json.encode(record) + b"\n" for record in kept))


def _replace(path: Path, content: bytes) -> None:
    """Write a file at once: killed in between, it is as it was."""
    mended = path.with_suffix(".mended")
    mended.write_bytes(content)
    mended.replace(path)


def document(environment: dict[str, Any], records: Sequence[Record | Timing]) -> bytes:
    """Return the one JSON document that `--json` prints."""
    return msgspec.json.format(
        msgspec.json.encode({"environment": environment, "records": records}), indent=2
    )
