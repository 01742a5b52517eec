"""The command line that repeats a check or a timing of a run."""

import shlex
from functools import lru_cache

from rnnparity.implementations.registry import without_kind
from rnnparity.problems import presets
from rnnparity.records.check import Record
from rnnparity.records.run import Run
from rnnparity.records.timing import Timing


def command(record: Record, run: Run) -> str:
    """Return the one line that checks this again; "" where the command line cannot."""
    case = record.definition
    words = ["rnnparity", "check", _target(record.implementation, run)]
    words += ["--cell", record.cell] if record.cell != "rnn" else []
    if case is None:
        return shlex.join(words)
    kind = case.config.kind
    if case.weights not in (None, "digits"):
        words += ["--weights", str(case.weights)]
    elif record.case in _ids("full", kind) and record.case not in _ids("quick", kind):
        words += ["--preset", "full"]
    elif record.case not in _ids("quick", kind):
        # A size, which is checked before it is timed; or a case of the caller's own.
        timed = any(t.definition == case for t in run.timings)
        return bench_command(record, run) if timed else ""
    words += ["--device", record.device, "--case", record.case]
    return shlex.join(words + _settings(run))


def bench_command(one: Record | Timing, run: Run) -> str:
    """Return the one line that times an implementation again."""
    preset = run.environment.get("preset")
    words = ["rnnparity", "bench", _target(one.implementation, run)]
    words += ["--preset", preset] if preset else []
    words += ["--cell", one.cell] if one.cell != "rnn" else []
    return shlex.join([*words, "--device", one.device, *_settings(run)])


@lru_cache
def _ids(preset: str, kind: str) -> frozenset[str]:
    return frozenset(case.id for case in presets.preset(preset, kind))


def _target(implementation: str, run: Run) -> str:
    """Return what an implementation is called by: its name, or its file's."""
    identity = str(run.environment.get("implementations", {}).get(implementation, ""))
    file = identity.partition(" ")[0]
    return file if file.endswith(".py") else without_kind(implementation)


def _settings(run: Run) -> list[str]:
    settings = run.environment.get("settings", {})
    threads, precision = settings.get("threads", 1), settings.get("matmul_precision", "float32")
    words = ["--threads", str(threads)] if threads != 1 else []
    return words + (["--matmul-precision", str(precision)] if precision != "float32" else [])
