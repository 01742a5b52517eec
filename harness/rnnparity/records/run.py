"""A run: what was made so far, and a run's folder, read as far as it can be.

Also of older and newer versions, also torn.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from rnnparity.errors import UsageError
from rnnparity.records import disk, files
from rnnparity.records.check import SCHEMA, Record
from rnnparity.records.timing import Timing
from rnnparity.verdicts import Verdict


@dataclass
class Run:
    """What a run made, as far as it got: by this process, or read from a folder.

    Attributes:
        directory: the run's folder.
        environment: what it was made on, as `records.environment` describes it.
        records: of its checks.
        timings: of what it timed.
        interrupted: whether it was ended before all was done.
        notes: one line for everything in the folder that could not be read, or no longer counts.
        title: what it goes by beside others; the folder's name if empty.
    """

    directory: Path
    environment: dict[str, Any]
    records: list[Record] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)
    interrupted: bool = False
    notes: list[str] = field(default_factory=list)
    title: str = ""

    @property
    def name(self) -> str:
        """The title, or the folder's name."""
        return self.title or self.directory.resolve().name.encode(errors="replace").decode()

    @property
    def passed(self) -> bool:
        """Whether something was checked and nothing failed or broke."""
        checked = {v for v in self.verdicts if v.is_right}
        return bool(checked) and not any(v.is_wrong for v in self.verdicts) and not self.interrupted

    @property
    def verdicts(self) -> set[Verdict]:
        """Which verdicts there are, of checks and of timings."""
        return {one.verdict for one in self.records} | {one.verdict for one in self.timings}

    def write_environment(self) -> None:
        """Write what the run is made on into its folder.

        Raises:
            UsageError: it cannot be written.
        """
        text = msgspec.json.format(msgspec.json.encode(self.environment), indent=2)
        disk.replace(self.directory / files.ENVIRONMENT, text + b"\n")


def read(directory: Path) -> Run:
    """Read a run's folder.

    Raises:
        UsageError: there is no run in it.
    """
    if not directory.is_dir():
        raise UsageError(f"no folder {directory}: give the folder of a run")
    notes: list[str] = []
    try:
        found = list(files.read(directory, notes))
        timings = list(files.read_timings(directory, notes))
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}") from None
    if not found and not timings and not notes:
        raise UsageError(f"{directory} has no {files.RECORDS}: give the folder of a run")
    try:
        environment = _known(files.read_environment(directory), notes)
    except (UsageError, OSError) as error:
        environment = {}
        notes.append(str(error))
    schema = environment.get("schema", SCHEMA)
    if schema > SCHEMA:
        notes.insert(
            0,
            f"made by a newer version (records of schema {schema}, this one reads up to "
            f"{SCHEMA}): what it does not know is left out",
        )
    return Run(directory, environment, found, timings, notes=notes)


class _Best(msgspec.Struct):
    product_flop_per_second: dict[str, float] = {}
    copy_bytes_per_second: float | None = None


class _Interpreter(msgspec.Struct):
    python: str = ""
    packages: dict[str, str] = {}
    framework: dict[str, Any] = {}


class _Environment(msgspec.Struct):
    """What reports read of an environment, with the types that they rely on."""

    schema: int = SCHEMA
    preset: str | None = None
    implementations: dict[str, str] = {}
    settings: dict[str, Any] = {}
    frameworks: dict[str, dict[str, Any]] = {}
    hosts: dict[str, dict[str, Any]] = {}
    interpreters: dict[str, _Interpreter] = {}
    timing: dict[str, Any] = {}
    best: _Best | None = None
    assumed: list[str] = []
    outdated: list[str] = []
    unmatched: list[str] = []


def _known(environment: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Return an environment without what has another type than reports rely on."""
    fine = {}
    types = {field.name: field.type for field in msgspec.structs.fields(_Environment)}
    for name, value in environment.items():
        try:
            if name in types:
                msgspec.convert(value, types[name])
            fine[name] = value
        except msgspec.ValidationError as error:
            notes.append(f"{files.ENVIRONMENT}, {name} is left out: {error}")
    return fine
