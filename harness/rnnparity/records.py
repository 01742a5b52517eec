"""The records: one JSON line per check, written as they are made, and read back."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import msgspec

from rnnparity.cases import Case, full_id
from rnnparity.errors import UsageError

R = TypeVar("R")

VERDICTS = ("pass", "fail", "chaotic", "unsupported", "absent", "error")
SCHEMA = 1  # of the records: goes up when an older reader would misread them
RECORDS = "records.jsonl"
TIMINGS = "timings.jsonl"
ENVIRONMENT = "environment.json"


class Quantity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one quantity (`output`, `h_n`, ...) differs from the truth.

    Attributes:
        max_abs_error: the largest absolute error; null where it is not finite.
        max_ulp: the largest error in units in the last place of the dtype at the truth.
        z: the largest error in units of predicted rounding; null where it is not finite.
        index: where that is, time-major: (step, row, feature), (layer and direction, row, unit), or
            the indices of a parameter.
        judged: share of the elements that are judged; the others are past the chaotic horizon.
        max_abs_difference_to_torch_rnn: from `torch.nn.RNN` on the CPU, where it was run.
        rms_z: root mean square of z over the judged elements.
        by_step: of the output, the largest z of every stretch of time steps, equally many in each.
        histogram: of the output, how many elements have z in each bin of a quarter unit.
    """

    max_abs_error: float | None
    max_ulp: float | None
    z: float | None
    index: tuple[int, ...]
    judged: float = 1.0
    max_abs_difference_to_torch_rnn: float | None = None
    rms_z: float | None = None
    by_step: tuple[float, ...] = ()
    histogram: tuple[int, ...] = ()


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one implementation on one case on one device.

    `absent`, and an `error` on import, concern no case: `case` is then empty. `horizon` is the
    time step from which on a chaotic case is not judged. `judged_rows` says how many rows of the
    batch were judged, where a sample was. `matmul_precision` is the one that matrix products really
    ran in (float32 cases). `same_bits_twice` says, for cases with invariants, whether the same
    input gave the same bits again. `diagnosis` names the known mistakes that reproduce a failing
    result.
    """

    implementation: str
    framework: str
    device: str
    dtype: str
    case: str
    verdict: str
    reason: str
    quantities: dict[str, Quantity] = {}
    horizon: int | None = None
    judged_rows: int | None = None
    matmul_precision: str | None = None
    same_bits_twice: bool | None = None
    diagnosis: tuple[str, ...] = ()
    definition: Case | None = None

    @property
    def id(self) -> str:
        """The check's full id."""
        if self.definition is None:
            return self.implementation
        return full_id(self.implementation, self.device, self.definition)


class Timing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How long one implementation takes on one case and device; raw seconds, nothing scaled.

    Attributes:
        mode: "forward", or "gradients": forward and backward.
        verdict: "pass" where the timed calls' own outputs passed; else there are no times.
        role: "implementation"; "again", the baseline a second time; or "bound", products alone.
        seconds: per call, for each process and each of its rounds.
        calls: of a block, for each process: what one of `seconds` is the mean of.
        ratio: baseline's seconds by these, paired within rounds; with its 95% interval.
        first_call: seconds, compilation included, for each process.
        prepare: seconds of what is done once per set of weights, likewise.
        seen_faster: how many times as fast calls are on inputs that were seen before.
        with_transfer: seconds of a call with x brought to the device and the output brought back;
            null on the CPU.
        on_device: seconds of a call between two marks in the device's queue, without the wait for
            its result; null where the framework has no such marks.
        handing_over: share of a call's time that is over when it returns, before its result is
            there: near 1, launching is what takes the time; null on the CPU.
        clock: lowest and highest of a card's multiprocessors, in MHz, right after the blocks.
        throttled: rounds that were dropped since a card was throttled.
        cores: that were busy: CPU time over wall time, of all blocks.
        peak_memory: bytes that a call adds to the process, or to the device's, at most.
        flop: of the matrix products of the forward pass. bytes: that it must move at least.
        steps: (T, seconds) of shorter sequences and this one, for the line through them:
        fixed: seconds of a call besides its steps; per_step: seconds of a step.
    """

    implementation: str
    framework: str
    device: str
    dtype: str
    case: str
    mode: str
    verdict: str
    reason: str = ""
    role: str = "implementation"
    threads: int = 1
    baseline: str = ""
    seconds: tuple[tuple[float, ...], ...] = ()
    calls: tuple[int, ...] = ()
    median: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    first_call: tuple[float, ...] = ()
    prepare: tuple[float, ...] = ()
    seen_faster: float | None = None
    with_transfer: float | None = None
    on_device: float | None = None
    handing_over: float | None = None
    clock: tuple[float, float] | None = None
    throttled: int = 0
    cores: float | None = None
    peak_memory: int | None = None
    flop: float | None = None
    bytes: float | None = None
    steps: tuple[tuple[int, float], ...] = ()
    fixed: float | None = None
    per_step: float | None = None
    definition: Case | None = None

    @property
    def id(self) -> str:
        """The timing's full id."""
        case = "" if self.definition is None else full_id("", self.device, self.definition)
        return f"{self.implementation}{case}-{self.mode}-{self.role}"

    @property
    def job(self) -> tuple[str, str, str, int]:
        """What was timed and where: case, mode, device and threads."""
        return self.case, self.mode, self.device, self.threads


class Recorder:
    """Appends records to a run's folder, one flushed line each; safe to share between threads."""

    def __init__(self, directory: Path, name: str = RECORDS) -> None:
        """Make the folder and open its records for appending."""
        directory.mkdir(parents=True, exist_ok=True)
        self._file = (directory / name).open("ab")
        self._lock = Lock()

    def write(self, record: Record | Timing) -> None:
        """Append one line."""
        with self._lock:
            self._file.write(msgspec.json.encode(record) + b"\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


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
    """Read the timings of a run, likewise."""
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


def keep_decided(directory: Path) -> list[Record]:
    """Reduce a run's records to those that a later run need not make again, and return them.

    Errors go, since their cause may be mended, and so does what concerns no case.
    """
    kept = [r for r in read(directory) if r.definition is not None and r.verdict != "error"]
    _rewrite(directory / RECORDS, kept)
    return kept


def keep_timed(directory: Path, wanted: Collection[tuple[Case | None, str, str]]) -> list[Timing]:
    """Reduce a run's timings to whole jobs that need not be timed again, and return them.

    Args:
        directory: of the run.
        wanted: case, device and implementation of what is to have a timing in each job.

    Raises:
        UsageError: a job must be timed again, and what took part in it is not wanted any more.
    """
    asked = {name for _, _, name in wanted}
    jobs: dict[tuple[Any, ...], list[Timing]] = {}
    for one in read_timings(directory):
        jobs.setdefault((one.definition, one.device, one.mode), []).append(one)
    kept = []
    for (case, device, _), timings in jobs.items():
        missing = {name for c, d, name in wanted if (c, d) == (case, device)}
        missing -= {one.implementation for one in timings if one.verdict != "error"}
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
        mended = path.with_suffix(".mended")
        mended.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in kept))
        mended.replace(path)


def document(environment: dict[str, Any], records: Sequence[Record | Timing]) -> bytes:
    """Return the one JSON document that `--json` prints."""
    return msgspec.json.format(
        msgspec.json.encode({"environment": environment, "records": records}), indent=2
    )
