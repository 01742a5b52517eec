"""What machine and which versions a run was made on, read off, never typed in."""

import hashlib
import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from rnnparity.implementations import interpreters
from rnnparity.implementations.settings import Settings, numeric_variables
from rnnparity.records import disk
from rnnparity.records.check import SCHEMA

PACKAGE = Path(__file__).parents[1]

CPU = Path("/proc/cpuinfo")

# The rooms that decide what a record says.
DECIDING = ("cells", "problems", "implementations", "judging", "records", "runs", "timing")


def environment(settings: Settings) -> dict[str, Any]:
    """Describe this machine and this process; workers add what their frameworks say."""
    import psutil

    from rnnparity.implementations import card

    return {
        "schema": SCHEMA,
        "rnnparity": version("rnnparity"),
        "source": _source(),
        "commit": _commit(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join([_program(), *map(_without_folders, sys.argv[1:])]),
        "python": platform.python_version(),
        "os": platform.platform(),
        "machine": platform.machine(),
        "cpu_model": _cpu_model(),
        "cpu_cores_physical": psutil.cpu_count(logical=False),
        "cpu_cores_logical": psutil.cpu_count(),
        "cpu_cores_usable": usable_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "cards": card.found(),
        "settings": msgspec.to_builtins(settings),
        # What a worker gets, and what of it the user has set, as it was.
        "variables": _told(numeric_variables() | settings.environment_variables()),
        "user_variables": _told(numeric_variables()),
        "packages": {name: version(name) for name in ("numpy", "ml-dtypes", "array-api-compat")},
        "frameworks": {},
    }


def write_environment(directory: Path, settings: Settings) -> None:
    """Write `environment.json` into a folder, made if missing.

    Raises:
        UsageError: the folder cannot be written to.
    """
    text = msgspec.json.format(msgspec.json.encode(environment(settings)), indent=2)
    disk.replace(directory / "environment.json", text + b"\n")


def usable_cores() -> int:
    """Return the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_model() -> str:
    """Return what the processor calls itself."""
    with suppress(OSError):  # Linux on x86: there is no need to ask further, which takes a second
        told = re.search(r"^model name\s*: (.+)$", CPU.read_text(), re.MULTILINE)
        if told:
            return " ".join(told[1].split())
    import cpuinfo

    return str(cpuinfo.get_cpu_info().get("brand_raw", "unknown"))


def _source() -> str:
    """Return a digest of the code that verdicts and times come from: all but what shows them."""
    digest = hashlib.sha256()
    for room in DECIDING:
        for path in sorted((PACKAGE / room).rglob("*.py")):
            digest.update(path.relative_to(PACKAGE).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _program() -> str:
    program = Path(sys.argv[0])
    as_module = program == PACKAGE / "__main__.py"
    return "rnnparity" if as_module else program.name


def _without_folders(argument: str) -> str:
    """Return a command's argument; of an absolute path the last part, which is all that matters."""
    name, at, python = argument.rpartition("@")
    if at and Path(python).is_absolute():
        return f"{_without_folders(name)}@{interpreters.labels([python])[python]}"
    return Path(argument).name if Path(argument).is_absolute() else argument


def _told(variables: dict[str, str]) -> dict[str, str]:
    """Return variables as they are recorded: sorted, and of absolute paths the last part."""
    return {
        name: re.sub(r"(^|[=:,\s])/[^\s:,]*/", r"\1", value)
        for name, value in sorted(variables.items())
    }


def _commit() -> str | None:
    """Return the commit of the source tree this was imported from, with "+" if it was changed."""
    folder = PACKAGE
    try:
        _git(folder, "ls-files", "--error-unmatch", "__main__.py")  # else: someone else's tree
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--", ".", "../../impls")
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit[:12] + ("+" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    # Without the lock that `git status` takes, which would outlive it if it were killed.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
