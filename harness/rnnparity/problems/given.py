"""Inputs that users bring: checked, kept with the run, and turned into a case."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnnparity.cells.config import KINDS, RNNConfig
from rnnparity.errors import UsageError, writing_into
from rnnparity.problems import weights
from rnnparity.problems.cases import Case
from rnnparity.problems.saved import read_saved
from rnnparity.problems.weights import onnx_reader
from rnnparity.problems.weights.formats import format_of
from rnnparity.problems.weights.tensors import as_numpy
from rnnparity.types import Array
from rnnparity.words import option


class Weights(NamedTuple):
    """Weights as a user gives them, and what they do not tell.

    `source` is a `torch.nn.RNN`, `GRU` or `LSTM`, a state dict, or the path of a weights file;
    `prefix` is what the names of one layer begin with, where the source holds several; `kind` is
    "rnn", "gru" or "lstm", None to find out. `nonlinearity` and `batch_first` are None where nobody
    says: what the source tells, else tanh, and time first.
    """

    source: Any
    prefix: str | None = None
    nonlinearity: str | None = None
    batch_first: bool | None = None
    kind: str | None = None

    @property
    def format(self) -> str:
        """What a file is by its content, as `formats.format_of` tells it; "" if it is no file."""
        return format_of(Path(self.source)) if isinstance(self.source, str | Path) else ""


class Sequences(NamedTuple):
    """An input as a user gives it: x, laid out as `torch.nn.RNN` takes it, perhaps more.

    That is the initial state, h0 and an LSTM's c0, and lengths. All None for one that is to be
    drawn.
    """

    x: Any = None
    h0: Any = None
    lengths: Any = None
    c0: Any = None


class Kept(NamedTuple):
    """Weights in a run's folder, and what their source says besides.

    `reverse`, `h0`, `c0` and `lengths` are an ONNX model's: it reads sequences backwards only;
    states and lengths are stored in it, and go with an input. `note` is what a user should be told
    of how they were read. `assumed_tanh`: nobody says the nonlinearity of a plain RNN.
    """

    path: str
    config: RNNConfig
    dtype: str
    reverse: bool = False
    h0: Any = None
    lengths: Any = None
    c0: Any = None
    note: str = ""
    assumed_tanh: bool = False


def turned(array: Array, batch_first: bool, lengths: Any) -> Array:
    """Return sequences turned round, each within its own length: `[T, ...]` or as the layout is."""
    array = np.array(array)
    axis = 1 if batch_first and array.ndim == 3 else 0
    if lengths is None:
        return np.asarray(np.flip(array, axis))
    time_major = np.moveaxis(array, axis, 0)
    for row, length in enumerate(np.asarray(lengths)):
        time_major[:length, row] = time_major[:length, row][::-1].copy()
    return np.asarray(array)


def parse_lengths(text: str) -> Array:
    """Read lengths: `5,3,8`, or the path of a file, as `saved.read_saved` reads it.

    Raises:
        UsageError: it is neither.
    """
    try:
        return np.array([int(part) for part in text.split(",")])
    except ValueError:
        pass
    if not Path(text).is_file() and not Path(text.rpartition(":")[0]).is_file():
        raise UsageError(f"lengths are {text!r}, expected 5,3,8 or a .npy file")
    found = np.ravel(read_saved(text, "lengths").values)
    return found.astype(np.int64) if (found == np.round(found)).all() else found


def case(kept: Kept, given: Sequences, directory: Path, dtype: str | None = None) -> Case:
    """Return a case on kept weights and, where there is one, an input, which is kept, too.

    Args:
        kept: the weights.
        given: an input; if there is none, it is drawn (T = 32, B = 4).
        directory: gets `input-<digest>.npz`.
        dtype: to compute in; the weights' own if None.

    Raises:
        UsageError: a shape that does not fit, or values that are not finite.
    """
    config, dtype = kept.config, dtype or kept.dtype
    x, h0, lengths, c0 = given
    if c0 is not None and "c" not in KINDS[config.kind].states:
        raise UsageError(f"c0 is given, but {weights.NAMES[config.kind]} has no c: leave it out")
    if x is not None:
        _check_stored(kept, h0, c0)
        if h0 is None and c0 is None:
            h0, c0 = kept.h0, kept.c0
        lengths = kept.lengths if lengths is None else lengths
        if kept.reverse:
            x = turned(_numbers("x", x), config.batch_first, lengths)
    if x is None:
        if h0 is not None or c0 is not None or lengths is not None:
            raise UsageError("h0, c0 or lengths are given without x: give the input, too")
        return Case(
            config=config, T=32, B=4, dtype=dtype, weights=kept.path, assumed=kept.assumed_tanh
        )
    arrays = {"x": _numbers("x", x)}
    x = arrays["x"]
    if x.ndim not in (2, 3) or x.shape[-1] != config.input_size or 0 in x.shape:
        layout = "[B, T, I]" if config.batch_first else "[T, B, I]"
        told = f"x has shape {x.shape}, expected {layout} or [T, I] with I = {config.input_size}"
        if x.size == max(x.shape) and x.size % config.input_size == 0:  # in one row or column
            told += (
                f": numpy.save('x.npy', x.reshape({layout[1:-2]}{config.input_size})), then that"
            )
        raise UsageError(told)
    B = None if x.ndim == 2 else x.shape[0 if config.batch_first else 1]
    T = x.shape[1 if config.batch_first and x.ndim == 3 else 0]
    if config.kind == "lstm" and (h0 is None) != (c0 is None):
        raise UsageError(
            "h0 or c0 is given alone: an LSTM takes both, zeros if need be, or neither"
        )
    middle = () if B is None else (B,)
    expected = (config.num_cells, *middle, config.hidden_size)
    for name, state in (("h0", h0), ("c0", c0)):
        if state is not None:
            arrays[name] = _numbers(name, state)
            if arrays[name].shape != expected:
                whose = "of the model " if state is getattr(kept, name) else ""
                raise UsageError(
                    f"{name} {whose}has shape {arrays[name].shape}, expected {expected} for this x"
                )
    if lengths is not None:
        arrays["lengths"] = _lengths(lengths, B, T)
    digest = hashlib.sha256(b"".join(arrays[n].tobytes() for n in sorted(arrays))).hexdigest()[:8]
    path = directory / f"input-{digest}.npz"
    with writing_into(directory):
        np.savez(path, **arrays)  # type: ignore[arg-type]  # its stub reads them as allow_pickle
    return Case(
        config=config,
        T=T,
        B=B,
        dtype=dtype,
        weights=kept.path,
        inputs=str(path.resolve()),
        ragged=lengths is not None,
        h0=h0 is not None,
        assumed=kept.assumed_tanh,
    )


def _check_stored(kept: Kept, h0: Any, c0: Any) -> None:
    """Refuse initial states that contradict those that a model stores."""
    for name, given, stored in (("h0", h0, kept.h0), ("c0", c0, kept.c0)):
        if given is not None and stored is not None and not np.array_equal(given, stored):
            raise UsageError(f"{name} is given, but the model stores another: leave it out")


def keep(given: Weights, directory: Path) -> Kept:
    """Read weights and write them into a folder, so that a run can be repeated.

    Args:
        given: the weights.
        directory: gets `weights-<digest>.safetensors`.

    Returns:
        Where they are, their configuration and dtype.

    Raises:
        UsageError: they cannot be used.
    """
    model = None
    source, prefix, nonlinearity, batch_first, kind = given
    told = {"nonlinearity": nonlinearity or "tanh", "batch_first": bool(batch_first)}
    if given.format == "onnx":
        model = onnx_reader.read(Path(source), kind=kind, prefix=prefix)
        told["nonlinearity"] = model.nonlinearity
        if batch_first is None or model.is_told:
            told["batch_first"] = model.batch_first
    parameters = weights.read(source, prefix, kind)
    config = weights.config_of(source, parameters, prefix, kind, **told)
    _check_told(given, config)
    # The same weights are the same case, in whatever order a file has them.
    digest = hashlib.sha256(b"".join(parameters[name].tobytes() for name in sorted(parameters)))
    path = directory / f"weights-{digest.hexdigest()[:8]}.safetensors"
    with writing_into(directory):
        weights.write(path, parameters)
    kept = Kept(str(path.resolve()), config, parameters["weight_hh_l0"].dtype.name)
    if model is None:
        live = hasattr(source, "named_modules")
        return kept._replace(
            assumed_tanh=nonlinearity is None and not live and config.kind == "rnn"
        )
    return kept._replace(
        reverse=model.reverse, h0=model.h0, c0=model.c0, lengths=model.lengths, note=model.note
    )


def _check_told(given: Weights, config: RNNConfig) -> None:
    """Refuse what a user says against what the weights' source says."""
    name = given.source if given.format else f"the {type(given.source).__name__}"
    if given.nonlinearity not in (None, config.nonlinearity):
        raise UsageError(
            f"the nonlinearity is given as {given.nonlinearity}, but {name} has "
            f"{config.nonlinearity}: leave it out, or give other weights"
        )
    if given.batch_first not in (None, config.batch_first):
        layouts = {True: "[B, T, I]", False: "[T, B, I]"}
        raise UsageError(
            f"batch_first is given as {given.batch_first}, but {name} takes "
            f"{layouts[config.batch_first]}: leave it out, and give x like that"
        )


def told(kept: Kept, case: Case) -> tuple[str, ...]:
    """Say in a line each how weights and x are read, what nobody said of them too."""
    config = case.config
    layers = f"{config.num_layers} layers" if config.num_layers > 1 else "one layer"
    parts = [f"{config.kind.upper()}, {layers}", "bidirectional" if config.bidirectional else ""]
    parts += [config.nonlinearity if config.kind == "rnn" else "", "" if config.bias else "no bias"]
    if kept.assumed_tanh:
        parts[2] += f" ({option('nonlinearity', 'relu')} if they are not)"
    lines = [f"weights: {', '.join(filter(None, parts))}; computed in {case.dtype}"]
    lines += [kept.note] if kept.note else []
    lines += ["reads sequences backwards: x and output are turned round"] if kept.reverse else []
    for name in ("h0", "c0", "lengths"):
        if getattr(kept, name) is not None and case.inputs is not None:
            lines.append(f"{name}: stored in the model")
    if case.inputs is None:
        return (*lines,)
    steps = f"T = {case.T} steps"
    if case.B is None:
        lines.append(f"x: {steps}, one sequence without a batch")
    elif config.batch_first:
        lines.append(f"x: B = {case.B} sequences, {steps} (batch-first)")
    else:
        other = f" ({option('batch_first', True)} if it is the other way round)"
        lines.append(f"x: {steps}, B = {case.B} sequences{other}")
    return (*lines,)


def as_array(name: str, value: Any) -> Array:
    """Return numbers of any framework as a NumPy array; bfloat16 of torch in its own dtype.

    Raises:
        UsageError: they are no numbers.
    """
    if np.ma.isMaskedArray(value):
        raise UsageError(f"{name} is a masked array, expected numbers: fill it, or give lengths")
    array = as_numpy(value)
    if array.dtype.kind not in "fiuV" or array.dtype == object:
        raise UsageError(f"{name} is {array.dtype}, expected numbers")
    return array


def _numbers(name: str, value: Any) -> Array:
    array = as_array(name, value).astype(np.float64)
    if not np.isfinite(array).all():
        raise UsageError(f"{name} has values that are not finite: nothing to compare")
    return array


def _lengths(lengths: Any, B: int | None, T: int) -> Array:
    found = np.asarray(lengths)
    if B is None or found.shape != (B,) or found.dtype.kind not in "iu":
        raise UsageError(
            f"lengths are {found.dtype} {found.shape}, expected one integer per sequence ({B})"
        )
    if found.min() < 1 or found.max() > T:
        raise UsageError(f"lengths are {found.min()} to {found.max()}, expected 1 to T = {T}")
    return found.astype(np.int64)
