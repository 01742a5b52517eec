"""A run's folder, read as far as it can be: also of older and newer versions, also torn."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    found = list(records.read(directory, notes))
    timings = list(records.read_timings(directory, notes))
    if not found and not timings and not notes:
        raise UsageError(f"{directory} has no {records.RECORDS}: give the folder of a run")
    try:
        environment = records.read_environment(directory)
    except UsageError as error:
        environment = {}
        notes.append(str(error))
    schema = environment.get("schema", records.SCHEMA)
    if schema > records.SCHEMA:
        notes.insert(
            0,
            f"made by a newer version (records of schema {schema}, this one reads up to "
            f"{records.SCHEMA}): what it does not know is left out",
        )
    return Source(directory.resolve().name, environment, found, timings, notes)
