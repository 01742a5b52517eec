"""A run without implementations: outputs that somebody saved, judged and recorded as others are."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnnparity.errors import UsageError
from rnnparity.implementations.settings import Settings
from rnnparity.judging.outputs import assess_outputs
from rnnparity.problems.cases import Case
from rnnparity.problems.given import Kept, Sequences, as_array, case, told
from rnnparity.problems.outputs import fitted, narrower
from rnnparity.problems.saved import Saved, read_others, read_saved
from rnnparity.records import files
from rnnparity.records.check import Record
from rnnparity.records.environment import environment
from rnnparity.records.run import Run
from rnnparity.runs.resuming import earlier_records

# What x may go with, as arrays or files.
Given = Mapping[str, Any]

# What stands for a framework and a device in records: outputs that were made elsewhere.
SAVED = "saved"


def case_of_outputs(
    kept: Kept, inputs: Given, outputs: Given, directory: Path, dtype: str | None = None
) -> tuple[Case, dict[str, Saved], list[str]]:
    """Return the case that outputs are of, these in its shapes, and what was taken for granted.

    Args:
        kept: the weights.
        inputs: "x", and perhaps "h0", "c0" and "lengths": arrays, or paths of files.
        outputs: "output", "h_n" or "c_n", as arrays or paths of files.
        directory: keeps the inputs.
        dtype: what was computed in; the coarser of the weights' and the outputs' if None.

    Raises:
        UsageError: something cannot be read, or does not fit.
    """
    given = {name: _taken(name, value) for name, value in outputs.items()}
    for value in outputs.values():
        if isinstance(value, str | Path):
            given = read_others(value, tuple(f"{s}_n" for s in kept.config.states)) | given
    arrays = {name: _taken(name, value).values for name, value in inputs.items()}
    if isinstance(inputs["x"], str | Path):
        others = read_others(inputs["x"], ("h0", "c0", "lengths"))
        arrays = {name: saved.values for name, saved in others.items()} | arrays
    sequences = Sequences(arrays["x"], *map(arrays.get, ("h0", "lengths", "c0")))
    found = case(kept, sequences, directory, dtype or narrower(kept.dtype, given))
    fit, notes = fitted(found, given)
    digits = [
        f"{name} is text of {s.digits}: what these leave open is held against nobody"
        for name, s in fit.items()
        if s.digits
    ]
    return found, fit, [*told(found), *notes, *digits]


def _taken(name: str, value: Any) -> Saved:
    """Return an array of any framework, or one out of a file."""
    if isinstance(value, str | Path):
        return read_saved(value, name)
    return Saved(as_array(name, value))


def judge_outputs(
    name: str,
    of: Case,
    given: Mapping[str, Saved],
    notes: Sequence[str],
    directory: Path,
    settings: Settings,
) -> Run:
    """Judge outputs, and write the record of it into a folder, which keeps the outputs, too.

    Args:
        name: what they go by: their file's name.
        of: the case that they should be the outputs of.
        given: the outputs, in the shapes that the case has.
        notes: what was taken for granted.
        directory: the run's folder.
        settings: what is declared besides the dtype.

    Raises:
        UsageError: the folder cannot be used, or holds another run.
    """
    described = environment(settings) | {"preset": None, "implementations": {name: SAVED}}
    described["assumed"] = list(notes)
    earlier_records(directory, described, resume=False)
    (judgement, diagnosis), against, arrays = assess_outputs(of, given, settings)
    run = Run(directory, described)
    rows = len(against.problem.rows)
    run.records.append(
        Record(
            implementation=name,
            framework=SAVED,
            device=SAVED,
            dtype=of.dtype,
            case=of.id,
            verdict=judgement.verdict,
            reason=judgement.reason,
            quantities=judgement.quantities,
            horizon=against.horizon,
            judged_rows=rows if rows != (of.B or 1) else None,
            diagnosis=diagnosis,
            cell=of.config.kind,
            definition=of,
        )
    )
    digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays.values()))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        kept = {name: saved.values for name, saved in given.items()}
        np.savez(directory / f"output-{digest.hexdigest()[:8]}.npz", **kept)  # type: ignore[arg-type]
        recorder = files.Recorder(directory)
        recorder.write(run.records[0])
        recorder.close()
        run.write_environment()
    except OSError as error:
        raise UsageError(f"{directory} cannot be written to: {error.strerror}") from None
    return run
