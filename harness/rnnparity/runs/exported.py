"""Cases as files, by which a runtime in any language is judged without Python.

Each is a folder as ONNX's node tests are: the model, a data set of inputs and outputs; and the same
in one `.npz`, with the weights. Expected is the truth, rounded to the case's dtype. Beside it
stands the unit of each element: a result is right if it is within `LIMIT` units everywhere.
docs/contract.md has the format.
"""

import json
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from rnnparity.errors import UsageError, writing_into
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.reference import Reference, reference
from rnnparity.problems.arrays import initial_states
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import numpy_dtype
from rnnparity.problems.quantities import time_major
from rnnparity.problems.weights import onnx_writer
from rnnparity.problems.weights.onnx_format import package
from rnnparity.types import Array

Arrays = dict[str, Array]

INDEX = "index.json"  # written last: where it stands, all cases do


def write(directory: Path, cases: Iterable[Case]) -> int:
    """Write cases into a new folder, each into one named by its id, and an index of them.

    Args:
        directory: to be made, or empty.
        cases: what ONNX's operators do not have (a sequence without a batch) is left out; of what
            is one case to whoever reads files (further calls, strided arrays), one is written.

    Returns:
        How many were written.

    Raises:
        UsageError: onnx is not installed, the folder is in use or cannot be written to, or nothing
            is left to write.
    """
    package()
    chosen = [*_for_files(cases)]
    if not chosen:
        raise UsageError("no case is left to write: give another preset or dtype")
    with writing_into(directory):
        if any(directory.iterdir()):
            raise UsageError(f"{directory} is not empty: give a new folder for the cases")
        told = [_write_case(directory / case.id, case) for case in chosen]
        index = {"rnnparity": version("rnnparity"), "limit": LIMIT, "cases": told}
        text = json.dumps(index, indent=1) + "\n"
        (directory / INDEX).write_text(text, encoding="utf-8")
    return len(chosen)


def _for_files(cases: Iterable[Case]) -> Iterator[Case]:
    plain = {"one_more_step": False, "invariants": False, "strided": False}
    yield from dict.fromkeys(case.replace(**plain) for case in cases if case.B is not None)


def _write_case(folder: Path, case: Case) -> dict[str, Any]:
    """Write a case; return what the index says of it."""
    config, against = case.config, reference(case)
    model, inputs, expected, units = as_model(case, against)
    problem = against.problem
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    for kind, arrays in (("input", inputs), ("output", expected), ("unit", units)):
        for k, (name, array) in enumerate(arrays.items()):
            tensor = package().numpy_helper.from_array(array, name)
            (data / f"{kind}_{k}.pb").write_bytes(tensor.SerializeToString())
    named = {f"unit_{name}": unit for name, unit in units.items()}
    held = {**problem.weights, **inputs, **expected, **named}
    with (folder / "case.npz").open("wb") as file:
        kept = {name: _for_npz(array) for name, array in held.items()}
        np.savez(file, **kept)  # type: ignore[arg-type]  # NumPy's stub: allow_pickle
    return {
        "id": case.id,
        "cell": config.kind,
        "dtype": case.dtype,
        "regime": case.regime,
        **{"T": case.T, "B": len(problem.rows), "I": config.input_size, "H": config.hidden_size},
        "layers": config.num_layers,
        "bidirectional": config.bidirectional,
        "nonlinearity": config.nonlinearity,
        "bias": config.bias,
        "batch_first": config.batch_first,
        "inputs": [*inputs],
        "outputs": [*expected],
        "judged": {name: float(np.isfinite(unit).mean()) for name, unit in units.items()},
    }


def as_model(case: Case, against: Reference) -> tuple[Any, Arrays, Arrays, Arrays]:
    """Return a case as an ONNX model, its inputs, what is right of its outputs, and the units.

    A unit is infinite where nothing is judged.
    """
    problem, config = against.problem, case.config
    given, lengths = {"x": problem.x} | initial_states(problem), problem.lengths
    # Rows do not depend on each other: of a large batch those are written whose truth is known.
    inputs = {
        name: np.ascontiguousarray(time_major(case, name, _rows(case, name, array, against)))
        for name, array in given.items()
    }
    if lengths is not None:
        inputs["lengths"] = lengths[problem.rows].astype(np.int32)
    model = onnx_writer.model(
        problem.weights, config, lengths=lengths is not None, initial=len(given) > 1
    )
    return model, inputs, *_expected(case, against)


def _rows(case: Case, name: str, array: Array, against: Reference) -> Array:
    return time_major(case, name, array)[:, against.problem.rows]


def _expected(case: Case, against: Reference) -> tuple[Arrays, Arrays]:
    """Return outputs and states as the truth has them in the case's dtype, and their units.

    A unit is infinite where nothing is judged. It is larger by what rounding the truth may add to
    the distance, so that what is within the limit of the truth is so of what is written.
    """
    expected, units = {}, {}
    for name in ("output", *(f"{state}_n" for state in case.config.states)):
        true, judged = against.true.values[name], against.judged[name]
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = true.astype(numpy_dtype(case.dtype))
            more = np.abs(rounded.astype(true.dtype) - true) / LIMIT
            unit = np.where(judged, against.units[name] + more, np.inf).astype(np.float64)
        expected[name] = np.ascontiguousarray(time_major(case, name, rounded))
        units[name] = np.ascontiguousarray(time_major(case, name, unit))
    return expected, units


def _for_npz(array: Array) -> Array:
    """Return an array as `.npz` can hold it: it has no bfloat16, whose numbers float32 has."""
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array
