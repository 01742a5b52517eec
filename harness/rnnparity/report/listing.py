"""`rnnparity list`: what is here, found out without importing a framework into this process."""

import tempfile
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rnnparity import extras
from rnnparity.cells.config import KINDS
from rnnparity.defaults import TIMEOUT
from rnnparity.implementations import registry
from rnnparity.implementations.registry import Spec
from rnnparity.implementations.settings import Settings
from rnnparity.problems import sizes
from rnnparity.problems.presets import PRESETS, preset
from rnnparity.problems.regimes import REGIMES
from rnnparity.runs import answers, work
from rnnparity.runs.processes import Worker, WorkerLost
from rnnparity.runs.work import Description
from rnnparity.verdicts import Verdict


def collect() -> dict[str, Description]:
    """Ask every registered implementation, in a worker, what it is and where it runs."""
    specs = registry.resolve_all([], peers=True, kinds=tuple(KINDS))
    # Those that may share a process share the import of their frameworks, which takes the time.
    together: dict[str, list[Spec]] = {}
    for spec in specs:
        module = spec.target.partition(":")[0] if registry.is_alone(spec) else ""
        together.setdefault(module, []).append(spec)
    found: dict[str, Description] = {}
    for sharing in together.values():
        found |= _described(sharing)
    return {spec.name: found[spec.name] for spec in specs}


def _described(specs: list[Spec]) -> dict[str, Description]:
    settings = Settings()
    found: dict[str, Description] = {}
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(settings, Path(folder) / "worker.log")
        try:
            for spec in specs:
                try:
                    told = worker.call(TIMEOUT, work.describe, spec, settings)
                    found[spec.name] = answers.in_lines(told)
                except WorkerLost as lost:
                    told = Description(verdict=Verdict.ERROR, reason=f"on import: {lost}")
                    found[spec.name] = told
        finally:
            worker.stop()
    return found


def offered(target: str) -> dict[str, Any]:
    """Ask every worker of a Dask cluster what it offers.

    Args:
        target: the scheduler's address, or the path of its scheduler file.

    Raises:
        UsageError: there is no scheduler, or it has no workers.
    """
    extras.needed("cluster", "a list of a cluster")
    from rnnparity.runs.cluster import connecting

    specs = tuple(registry.resolve_all([], peers=True, kinds=tuple(KINDS)))
    with connecting.connected(target, specs, Settings(), TIMEOUT) as workers:
        return workers.survey()


def show_offered(found: dict[str, Any], console: Console) -> None:
    """Print what the workers of a cluster offer."""
    table = Table(pad_edge=False)
    columns = ("worker", "host", "cores", "memory", "devices", "frameworks", "resources")
    for column in columns:
        table.add_column(column)
    for one in found["workers"]:
        table.add_row(*(one[column] for column in columns))
    console.print(table)
    for worker, why in found["unused"].items():
        console.print(f"not used: {worker}: {why}", soft_wrap=True)


def document(found: dict[str, Description]) -> str:
    """Return the list as one JSON document."""
    listed: dict[str, Any] = {
        "implementations": found,
        "presets": {name: len(preset(name)) for name in PRESETS},
        "sizes": {name: meaning for name, (meaning, _) in sizes.PRESETS.items()},
        "regimes": {name: regime.meaning for name, regime in REGIMES.items()},
    }
    return as_json(listed)


def as_json(listed: dict[str, Any]) -> str:
    """Return plain data as one JSON document."""
    return msgspec.json.format(msgspec.json.encode(listed), indent=2).decode() + "\n"


def show(found: dict[str, Description], console: Console) -> None:
    """Print the list."""
    table = Table(pad_edge=False)
    for column in ("implementation", "framework", "devices", "dtypes"):
        table.add_column(column)
    for name, description in found.items():
        if description.verdict:
            colour = "yellow" if description.verdict == Verdict.ABSENT else "red"
            why = Text(f"{description.verdict}: {description.reason}", style=colour)
            table.add_row(name, description.framework or "-", "-", why)
        else:
            version = description.versions.get(description.framework, "")
            table.add_row(
                name,
                f"{description.framework} {version}",
                " ".join(description.devices) or f"{' '.join(description.runs_on)}: none here",
                " ".join(description.dtypes),
            )
    console.print(table)
    cases = {name: f"{len(preset(name))} cases: {meaning}" for name, meaning in PRESETS.items()}
    _explain("presets", cases, console)
    of_sizes = {name: meaning for name, (meaning, _) in sizes.PRESETS.items()}
    _explain("presets of sizes, which bench times", of_sizes, console)
    meanings = {name: regime.meaning for name, regime in REGIMES.items()}
    _explain("regimes of weights and inputs", meanings, console)


def _explain(what: str, meanings: dict[str, str], console: Console) -> None:
    console.print(f"{what}:")
    for name, meaning in meanings.items():
        console.print(f"  {name:12} {meaning}", highlight=False)
