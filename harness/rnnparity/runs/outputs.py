"""A run without implementations: outputs that somebody saved, judged and recorded as others are."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnnparity.errors import UsageError, writing_into
from rnnparity.implementations.settings import Settings
from rnnparity.judging.outputs import assess_outputs
from rnnparity.problems.cases import Case
from rnnparity.problems.saved import Saved
from rnnparity.records import files
from rnnparity.records.check import Record
from rnnparity.records.environment import environment
from rnnparity.records.run import Run

# What x may go with, as arrays or files.
Given = Mapping[str, Any]

# What stands for a framework and a device in records: outputs that were made elsewhere.
SAVED = "saved"


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
    if next(files.read(directory), None) is not None:
        raise UsageError(f"{directory} has records already: give another folder")
    (judgement, diagnosis, ran), against, arrays = assess_outputs(of, given, settings)
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
            matmul_precision=ran,
            diagnosis=diagnosis,
            cell=of.config.kind,
            definition=of,
        )
    )
    digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays.values()))
    with writing_into(directory):
        kept = {name: saved.values for name, saved in given.items()}
        np.savez(directory / f"output-{digest.hexdigest()[:8]}.npz", **kept)  # type: ignore[arg-type]  # as in `given.case`: its stub
    recorder = files.Recorder(directory)
    recorder.write(run.records[0])
    recorder.close()
    run.write_environment()
    return run
