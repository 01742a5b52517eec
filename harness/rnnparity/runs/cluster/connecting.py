"""Connecting to a Dask cluster's scheduler, and leaving it as it was."""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import distributed

from rnnparity.errors import UsageError, one_line
from rnnparity.implementations.registry import Spec
from rnnparity.implementations.settings import Settings
from rnnparity.runs.cluster.calls import Cluster

# Seconds for the scheduler to answer at the beginning; it is local or it is in the same building.
CONNECT_WITHIN = 15.0

# What Dask itself logs of a lost connection is said here in one line.
LOGGERS = ("distributed.client", "distributed.core", "distributed.comm", "distributed.batched")


@contextmanager
def connected(
    target: Any, specs: Sequence[Spec], settings: Settings, timeout: float
) -> Iterator[Cluster]:
    """Connect to a cluster, and leave it as it was.

    Args:
        target: the address of its scheduler, the path of its scheduler file, or an object of
            Dask's: a client or a cluster.
        specs: what its workers are asked for.
        settings: of the processes that run these there.
        timeout: seconds for one case and for an import.

    Raises:
        UsageError: there is no scheduler, or it does not answer.
    """
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    own = not isinstance(target, distributed.Client)
    client = _client(target) if own else target
    cluster = None
    try:
        cluster = Cluster(client, specs, settings, timeout)
        yield cluster
    finally:
        if cluster is not None:
            cluster.close()
        if own:
            with suppress(Exception):
                client.close(timeout=2)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _client(target: Any) -> Any:
    given: dict[str, Any] = {"address": target}
    if isinstance(target, str | Path):
        told = str(target)
        if Path(target).is_file():
            given = {"scheduler_file": told}
        elif not re.fullmatch(r"(\w+://\S+|\[?[\w.:-]+\]?:\d+)", told):
            raise UsageError(
                f"cluster is {one_line(told, 80)!r}, expected the address of a Dask scheduler "
                "(tcp://host:8786) or its scheduler file"
            )
        else:
            given = {"address": told}
    # Made before it connects, so that it can be told to leave nothing behind when it does not.
    client: Any = distributed.Client.__new__(distributed.Client)
    try:
        client.__init__(**given, timeout=CONNECT_WITHIN, set_as_default=False, name="rnnparity")
    except Exception as error:
        client.status = "closed"
        told = one_line(error) or "timed out"
        raise UsageError(f"no Dask scheduler answers at {one_line(target, 80)}: {told}") from None
    return client
