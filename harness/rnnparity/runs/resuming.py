"""Whether a run in a folder can be gone on with, and what of it is kept."""

import hashlib
from pathlib import Path
from typing import Any

from rnnparity.errors import UsageError
from rnnparity.implementations.registry import Spec
from rnnparity.records import files
from rnnparity.records.check import Record
from rnnparity.runs.parcels import own_code

# Of a run's environment, what timing it adds; a resumed run goes on from there.
OF_TIMING = ("best", "timing")

# Settings that decide no number: who was stopped for want of memory is given more.
MAY_CHANGE = {"memory"}


def earlier_records(directory: Path, described: dict[str, Any], resume: bool) -> list[Record]:
    """Return the records of the run that is resumed, if it was made the same way.

    Args:
        directory: the run's folder.
        described: the environment of the run that goes on; gets what timing has added to it.
        resume: whether a run is gone on with; if not, there must be none.

    Raises:
        UsageError: there is a run already, or it was made another way.
    """
    if not resume:
        if next(files.read(directory), None) is not None:
            raise UsageError(f"{directory} has records already: give --resume, or another folder")
        return []
    before = files.read_environment(directory)
    described |= {name: before[name] for name in OF_TIMING if name in before}
    for key in ("settings", "implementations"):
        then, now = before.get(key, {}), described[key]
        names = then.keys() & now.keys() - MAY_CHANGE
        changed = [name for name in names if then[name] != now[name]]
        if changed:
            raise UsageError(
                f"{directory} was made with another {changed[0]} ({then[changed[0]]}, now "
                f"{now[changed[0]]}): resume it as it was, or give another folder"
            )
    # A worker's variables decide its kernels. Records from before these were told have none to ask.
    if "user_variables" in before and before["variables"] != described["variables"]:
        then, now = (one["variables"].items() for one in (before, described))
        changed = sorted({name for name, _ in then ^ now})
        raise UsageError(
            f"{directory} was made with another {changed[0]} in the environment "
            f"({before['variables'].get(changed[0], 'none')}, now "
            f"{described['variables'].get(changed[0], 'none')}): resume it as it was, or give "
            "another folder"
        )
    return files.keep_decided(directory)


def identity(spec: Spec) -> str:
    """Return what tells one implementation from another of the same name."""
    if not spec.target.endswith(".py"):
        return spec.target
    digest = hashlib.sha256(own_code(spec)).hexdigest()[:12]
    return f"{Path(spec.target).name} {digest}"
