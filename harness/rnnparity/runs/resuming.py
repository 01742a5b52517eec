"""Whether a run in a folder can be gone on with, and what of it is kept."""

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rnnparity.errors import UsageError
from rnnparity.implementations.registry import Spec
from rnnparity.records import files
from rnnparity.records.check import Record
from rnnparity.runs.expected import Expected, as_expected
from rnnparity.runs.parcels import own_code
from rnnparity.words import option

# Of a run's environment, what timing it adds; a resumed run goes on from there.
OF_TIMING = ("best", "timing")


def earlier_records(
    directory: Path, described: dict[str, Any], resume: bool, expected: Sequence[Expected]
) -> list[Record]:
    """Return the records of the run that is resumed, if it was made the same way.

    Args:
        directory: the run's folder.
        described: the environment of the run that goes on; gets what timing has added to it.
        resume: whether a run is gone on with; if not, there must be none.
        expected: failures that are expected now, whatever was when the records were made.

    Raises:
        UsageError: there is a run already, or it was made another way.
    """
    if not resume:
        if next(files.read(directory), None) is not None:
            raise UsageError(
                f"{directory} has records already: give {option('resume', True)}, or another folder"
            )
        return []
    before = files.read_environment(directory)
    described |= {name: before[name] for name in OF_TIMING if name in before}
    for key in ("settings", "implementations"):
        then, now = before.get(key, {}), described[key]
        changed = [name for name in then.keys() & now.keys() if then[name] != now[name]]
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
    return files.keep_decided(directory, partial(as_expected, expected))


def identity(spec: Spec) -> str:
    """Return what tells one implementation from another of the same name."""
    if not spec.target.endswith(".py"):
        return spec.target
    digest = hashlib.sha256(own_code(spec)).hexdigest()[:12]
    return f"{Path(spec.target).name} {digest}"
