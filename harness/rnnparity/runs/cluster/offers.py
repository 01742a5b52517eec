"""What a worker of a Dask cluster offers: whether it can take part, and the same in words."""

from collections.abc import Sequence
from typing import Any

import msgspec

from rnnparity.implementations.registry import Spec
from rnnparity.implementations.settings import Settings
from rnnparity.runs.cluster.on_worker import Offer
from rnnparity.runs.processes import WorkerLost


class _Told(msgspec.Struct):
    """What is read of a worker's environment, with the types that are relied on."""

    cpu_cores_usable: int
    frameworks: dict[str, dict[str, Any]]
    commit: str | None = None


def trouble(
    found: Offer | WorkerLost, specs: Sequence[Spec], settings: Settings, commit: str | None
) -> str:
    """Say why a worker cannot take part; "" if it can.

    Args:
        found: what it offers, or why it did not say.
        specs: what it was asked for.
        settings: of the processes that would run these there.
        commit: of the source tree here, if there is one.
    """
    if isinstance(found, WorkerLost):
        return f"asked what it offers, it {found}"
    if found.descriptions.keys() != {spec.name for spec in specs}:
        return "it described other implementations than it was asked for"
    try:
        told = msgspec.convert(found.environment, _Told)
    except msgspec.ValidationError as error:
        return f"it described its machine wrongly: {error}"
    if commit != told.commit and None not in (commit, told.commit):
        return f"its rnnparity is commit {told.commit}, and this is {commit}: install the same"
    threads = settings.threads
    if threads > told.cpu_cores_usable:
        return f"it has {told.cpu_cores_usable} cores, and an implementation is to use {threads}"
    return ""


def in_words(address: str, offer: Offer) -> dict[str, str]:
    """Return what a worker offers, a text for each column of a table."""
    there = [one for one in offer.descriptions.values() if not one.verdict]
    versions = {one.framework: one.versions.get(one.framework, "") for one in there}
    devices = dict.fromkeys(device for one in there for device in one.devices)
    memory = offer.environment.get("memory_bytes")
    return {
        "worker": f"{offer.name} ({offer.threads} at a time)",
        "address": address,
        "host": offer.host,
        "cores": str(offer.environment.get("cpu_cores_usable", "")),
        "memory": f"{memory / 1e9:.0f} GB" if isinstance(memory, int) else "",
        "devices": " ".join(devices),
        "frameworks": ", ".join(" ".join(one).strip() for one in sorted(versions.items())),
        "resources": " ".join(f"{n}={value:g}" for n, value in sorted(offer.resources.items())),
    }
