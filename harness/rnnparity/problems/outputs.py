"""Outputs that a port wrote, fitted to the case that they are of: in which shape, in which dtype.

What can be read in one way only is taken (an axis of one that is left out, rows of text), and said.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnnparity.errors import UsageError
from rnnparity.problems import weights
from rnnparity.problems.cases import DTYPES, Case
from rnnparity.problems.dtypes import is_16_bit, numpy_dtype, unit_roundoff
from rnnparity.problems.given import Kept, Sequences, as_array, told, turned
from rnnparity.problems.given import case as case_of
from rnnparity.problems.saved import Saved, read_others, read_saved
from rnnparity.words import option

# Arrays, or paths of files, by name.
Given = Mapping[str, Any]

LETTERS = {"output": "[T, B, D * H]", "h_n": "[L * D, B, H]", "c_n": "[L * D, B, H]"}


def shapes(case: Case) -> dict[str, tuple[int, ...]]:
    """Return the shape that torch's layer gives each output, laid out as the case's x."""
    config = case.config
    batch = () if case.B is None else (case.B,)
    sequence = (*batch, case.T) if config.batch_first else (case.T, *batch)
    output = (*sequence, config.num_directions * config.hidden_size)
    states = (config.num_cells, *batch, config.hidden_size)
    return {"output": output} | {f"{state}_n": states for state in config.states}


def fitted(
    case: Case, given: Mapping[str, Saved], longest: int | None = None
) -> tuple[dict[str, Saved], list[str]]:
    """Return outputs in the shapes that the case expects, and what was taken for granted.

    Args:
        case: what they are the outputs of.
        given: "output", "h_n", an LSTM's "c_n": one of them or more.
        longest: steps of the longest sequence, if their lengths are given; an output may end there.

    Raises:
        UsageError: there is none, or a shape that can be no layout of what is expected.
    """
    if not given:
        raise UsageError(f"nothing to judge: give {option('output')}, {option('h_n')} or both")
    expected, found, notes = shapes(case), {}, []
    for name, saved in given.items():
        if name not in expected:
            raise UsageError(
                f"{name} is given, but {weights.NAMES[case.config.kind]} has none: leave it out"
            )
        if saved.values.dtype.kind in "iu" and saved.off is None:
            raise UsageError(
                f"{name} is {saved.values.dtype}, expected floating-point numbers: "
                "multiply integers by their scale first"
            )
        shape, wanted = saved.values.shape, expected[name]
        ends = name == "output" and longest not in (None, case.T)
        if ends and saved.values.size < np.prod(wanted):
            wanted = shapes(case.replace(T=longest))[name]
        found[name] = saved
        if shape != wanted:
            found[name] = saved.reshaped(_same(name, shape, wanted, case))
            order = (
                ", the last axis the fastest" if len(_bare(shape)) == 1 < len(_bare(wanted)) else ""
            )
            notes.append(f"{name}: {list(shape)} read as {list(wanted)}{order}")
        if wanted != expected[name]:
            found[name] = found[name].padded(expected[name])
            notes.append(f"{name} ends with the longest sequence: zeros up to T = {case.T}")
        if saved.note:
            notes.append(f"{name}: {saved.note}")
    return found, notes


def _bare(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def _same(
    name: str, shape: tuple[int, ...], expected: tuple[int, ...], case: Case
) -> tuple[int, ...]:
    """Return the expected shape if the given one differs in axes of one, is rows of it, or flat.

    Raises:
        UsageError: it does not.
    """
    bare = _bare(shape)
    if bare == _bare(expected) or bare == (int(np.prod(expected)),):
        return expected
    if shape == (int(np.prod(expected[:-1])), expected[-1]):  # a table: a row for each vector
        return expected
    told = f"{name} has shape {list(shape)}, expected {LETTERS[name]} = {list(expected)}"
    if case.config.batch_first and name == "output":
        told = told.replace("[T, B,", "[B, T,")
    if case.B is None:
        told = told.replace(", B,", ",")
    last_steps = shapes(case)["h_n"]
    if name == "output" and bare == _bare(last_steps):
        raise UsageError(f"{told}: if it is the last state, give it as {option('h_n')}")
    if name != "output" and case.B is not None and shape[-2:-1] == (case.T,) != (case.B,):
        raise UsageError(f"{told}: if x is [B, T, I], give {option('batch_first', True)}")
    if sorted(shape) == sorted(expected):
        told += ": transpose it"
        if name == "output" and not case.config.batch_first:
            told += f"; x and output are both [B, T, ...] with {option('batch_first', True)}"
    raise UsageError(told)


def narrower(of_weights: str, given: Mapping[str, Saved]) -> str:
    """Return the dtype to judge in: of the weights and the outputs, the coarsest.

    Text has no dtype; what a port in double precision makes of float32 weights is judged in
    float32.

    Args:
        of_weights: the dtype of the weights.
        given: the outputs.
    """
    names = [of_weights, *(s.values.dtype.name for s in given.values() if not s.digits)]
    known = [name for name in names if name in DTYPES]
    own = sorted({*known[1:]})
    if len(own) > 1 and any(map(is_16_bit, own)):
        raise UsageError(
            f"outputs are {' and '.join(own)}: give {option('dtype')}, what was computed in"
        )
    return max(known, key=unit_roundoff)


def coarser(dtype: str, given: Mapping[str, Saved]) -> str | None:
    """Return a 16-bit dtype that every value of a float32 file is one of; None if they are not.

    Such a file comes of a computation in that dtype, which is judged in it.
    """
    values = [s.values.astype(np.float64).ravel() for s in given.values() if not s.digits]
    together = np.concatenate([np.empty(0), *values])
    together = together[np.isfinite(together) & (together != 0) & (np.abs(together) != 1)]
    if len(together) < 16:
        return None
    for name in ("bfloat16", "float16"):  # the coarsest first: its numbers are the other's, too
        coarse = unit_roundoff(name) > unit_roundoff(dtype)
        with np.errstate(all="ignore"):
            if coarse and (together.astype(numpy_dtype(name)).astype(np.float64) == together).all():
                return name
    return None


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
    if "x" not in inputs:
        raise UsageError("x is missing: give the input that the port was given")
    given = {name: _taken(name, value) for name, value in outputs.items()}
    for value in outputs.values():
        if isinstance(value, str | Path):
            given = read_others(value, tuple(f"{s}_n" for s in kept.config.states)) | given
    taken = {name: _taken(name, value) for name, value in inputs.items()}
    arrays = {name: saved.values for name, saved in taken.items()}
    if isinstance(inputs["x"], str | Path):
        others = read_others(inputs["x"], ("h0", "c0", "lengths"))
        arrays = {name: saved.values for name, saved in others.items()} | arrays
    sequences = Sequences(arrays["x"], *map(arrays.get, ("h0", "lengths", "c0")))
    found = case_of(kept, sequences, directory, dtype or narrower(kept.dtype, given))
    lengths = arrays.get("lengths", kept.lengths)
    if kept.reverse and "output" in given:
        given["output"] = _turned(given["output"], found, lengths)
    fit, notes = fitted(found, given, None if lengths is None else int(np.max(lengths)))
    notes += [f"{name}: {saved.note}" for name, saved in taken.items() if saved.note]
    if taken["x"].digits:
        notes.append(f"x is text of {taken['x'].digits}: was the port given the same numbers?")
    digits = [
        f"{name} is text of {s.digits}: what these leave open is held against nobody"
        for name, s in fit.items()
        if s.digits
    ]
    return found, fit, [*told(kept, found), *notes, *digits]


def _turned(saved: Saved, case: Case, lengths: Any) -> Saved:
    """Return an output of a layer that reads backwards as that of one that reads forwards."""
    first = case.config.batch_first
    off = None if saved.off is None else turned(saved.off, first, lengths)
    return Saved(turned(saved.values, first, lengths), off, saved.digits, saved.note)


def _taken(name: str, value: Any) -> Saved:
    """Return an array of any framework, or one out of a file."""
    if isinstance(value, str | Path):
        return read_saved(value, name)
    return Saved(as_array(name, value))
