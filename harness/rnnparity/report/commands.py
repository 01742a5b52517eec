"""The command line that repeats a check or a timing of a run."""

import shlex
from functools import lru_cache

from rnnparity.implementations.registry import without_kind
from rnnparity.problems import presets
from rnnparity.problems.cases import Case
from rnnparity.records.check import Record
from rnnparity.records.run import Run
from rnnparity.records.timing import Timing
from rnnparity.runs.outputs import SAVED


def command(record: Record, run: Run) -> str:
    """Return the one line that checks this again; "" where the command line cannot."""
    case = record.definition
    if case is not None and record.framework == SAVED:
        return shlex.join(_judging(record, case, run))
    words = ["rnnparity", "check", _target(record.implementation, run)]
    words += ["--cell", record.cell] if record.cell != "rnn" else []
    if case is None:
        return shlex.join(words)
    kind = case.config.kind
    if case.weights not in (None, "digits"):
        words += _on_weights(case)
    elif record.case in _ids("full", kind) and record.case not in _ids("quick", kind):
        words += ["--preset", "full"]
    elif record.case not in _ids("quick", kind):
        # A size, which is checked before it is timed; or a case of the caller's own.
        timed = any(t.definition == case for t in run.timings)
        return bench_command(record, run) if timed else ""
    words += ["--device", record.device, "--case", record.case]
    return shlex.join(words + _settings(run))


def _judging(record: Record, case: Case, run: Run) -> list[str]:
    """Return the words that judge saved outputs again, which the run's folder has kept."""
    words = ["rnnparity", "judge", "--name", record.implementation, *_on_weights(case)]
    for kept in run.directory.glob("output-*.npz"):
        for name in record.quantities:
            words += [f"--{name.replace('_', '-')}", f"{kept}:{name}"]
    return [*words, "--dtype", record.dtype]


def _on_weights(case: Case) -> list[str]:
    """Return the options that give a user's weights and input, as they were read."""
    words = ["--weights", str(case.weights)]
    words += [] if case.inputs is None else ["--input", str(case.inputs)]
    config = case.config
    words += ["--nonlinearity", config.nonlinearity] if config.nonlinearity != "tanh" else []
    return words + (["--batch-first"] if config.batch_first else [])


def bench_command(one: Record | Timing, run: Run) -> str:
    """Return the one line that times an implementation again."""
    preset, case = run.environment.get("preset"), one.definition
    words = ["rnnparity", "bench", _target(one.implementation, run)]
    words += ["--preset", preset] if preset else []
    if not preset and case is not None:  # at sizes of the user's own
        numbers = [case.T, case.B or 1, case.config.input_size, case.config.hidden_size]
        words += _on_weights(case) if case.weights is not None else []
        words += ["--size", ",".join(map(str, numbers))]
    words += ["--cell", one.cell] if one.cell != "rnn" else []
    return shlex.join([*words, "--device", one.device, *_settings(run)])


@lru_cache
def _ids(preset: str, kind: str) -> frozenset[str]:
    return frozenset(case.id for case in presets.preset(preset, kind))


def _target(implementation: str, run: Run) -> str:
    """Return what an implementation is called by: its name, or its file's."""
    identity = str(run.environment.get("implementations", {}).get(implementation, ""))
    file = identity.partition(" ")[0]
    name = without_kind(implementation)
    if not file.endswith(".py"):
        return name
    has_python = implementation in run.environment.get("interpreters", {})
    return f"{file}@{name.rpartition('@')[2]}" if has_python else file


def _settings(run: Run) -> list[str]:
    settings = run.environment.get("settings", {})
    threads, precision = settings.get("threads", 1), settings.get("matmul_precision", "float32")
    words = ["--threads", str(threads)] if threads != 1 else []
    return words + (["--matmul-precision", str(precision)] if precision != "float32" else [])
