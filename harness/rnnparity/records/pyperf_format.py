"""The timings in the JSON format of pyperf, so that its commands read them.

A benchmark is one implementation on one case and device; a process is a run, a round a value. The
first call is kept as a warm-up.
"""

from pathlib import Path
from typing import Any

import msgspec

from rnnparity.records import disk
from rnnparity.records.run import Run
from rnnparity.records.timing import Timing

PYPERF = "pyperf.json"

# Its name for what our environment says.
METADATA = {
    "cpu_model_name": "cpu_model",
    "platform": "os",
    "python_version": "python",
    "rnnparity_version": "rnnparity",
}


def write(run: Run) -> Path | None:
    """Write `pyperf.json` into the run's folder; None if nothing was timed."""
    timed = [one for one in run.timings if one.seconds]
    if not timed:
        return None
    path = run.directory / PYPERF
    disk.replace(path, msgspec.json.encode(document(timed, run.environment)) + b"\n")
    return path


def document(timings: list[Timing], environment: dict[str, Any]) -> dict[str, Any]:
    """Return what pyperf calls a suite.

    Args:
        timings: those with seconds.
        environment: of the run; its machine goes into the metadata.
    """
    metadata = {
        name: str(environment[ours])
        for name, ours in METADATA.items()
        if environment.get(ours) is not None
    }
    return {
        "version": "1.0",
        "metadata": metadata | {"unit": "second"},
        "benchmarks": [_benchmark(one) for one in timings],
    }


def _benchmark(one: Timing) -> dict[str, Any]:
    return {
        "metadata": {"name": f"{one.id}-{one.threads}threads"},
        "runs": [
            {"metadata": {"loops": calls}, "values": list(seconds), "warmups": [[1, first]]}
            for seconds, calls, first in zip(one.seconds, one.calls, one.first_call, strict=True)
        ],
    }
