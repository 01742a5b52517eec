"""A run's folder, read as far as it can be: also of older and newer versions, also torn."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from rnnparity import records
from rnnparity.errors import UsageError
from rnnparity.records import Record, Timing


@dataclass
class Source:
    """What a report is made from.

    Attributes:
        name: of the run.
        environment: what it was made on.
        records: its checks.
        timings: its timings.
        notes: one line for everything that could not be read.
    """

    name: str
    environment: dict[str, Any]
    records: list[Record]
    timings: list[Timing]
    notes: list[str] = field(default_factory=list)


def read(directory: Path) -> Source:
    """Read a run's folder.

    Raises:
        UsageError: there is no run in it.
    """
    if not directory.is_dir():
        raise UsageError(f"no folder {directory}: give the folder of a run")
    notes: list[str] = []
    try:
        found = list(records.read(directory, notes))
        timings = list(records.read_timings(directory, notes))
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}") from None
    if not found and not timings and not notes:
        raise UsageError(f"{directory} has no {records.RECORDS}: give the folder of a run")
    try:
        environment = _known(records.read_environment(directory), notes)
    except (UsageError, OSError) as error:
        environment = {}
        notes.append(str(error))
    schema = environment.get("schema", records.SCHEMA)
    if schema > records.SCHEMA:
        notes.insert(
            0,
            f"made by a newer version (records of schema {schema}, this one reads up to "
            f"{records.SCHEMA}): what it does not know is left out",
        )
    name = directory.resolve().name.encode(errors="replace").decode()
    return Source(name, environment, found, timings, notes)


class _Best(msgspec.Struct):
    product_flop_per_second: dict[str, float] = {}
    copy_bytes_per_second: float | None = None


class _Environment(msgspec.Struct):
    """What reports read of an environment, with the types that they rely on."""

    schema: int = records.SCHEMA
    preset: str | None = None
    implementations: dict[str, str] = {}
    settings: dict[str, Any] = {}
    frameworks: dict[str, dict[str, Any]] = {}
    timing: dict[str, Any] = {}
    best: _Best | None = None


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
            notes.append(f"{records.ENVIRONMENT}, {name} is left out: {error}")
    return fine
