"""What a worker answers: plain data, checked where it arrives.

Somebody else's code ran in a worker. So no object comes back from there: a result is written as
text, numbers and the bytes of arrays, and read as the type that its function says it returns. An
outcome that can be read is then compared with the case that was asked for.
"""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from types import NoneType
from typing import Annotated, Any, Generic, ParamSpec, TypeVar, cast, get_type_hints

import msgspec
import numpy as np

from rnnparity.cells.config import parameter_shapes
from rnnparity.errors import UsageError, explain, one_line
from rnnparity.implementations import invariants, stopwatch
from rnnparity.implementations.outcome import Outcome, result_shapes
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import numpy_dtype
from rnnparity.runs.parcels import Lacking
from rnnparity.types import Array
from rnnparity.verdicts import Verdict

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

# What has no text in it that anybody else wrote.
NO_TEXT = (int, float, NoneType, Verdict, np.ndarray)

# No result is without these.
ALWAYS = ("output", "h_n")


class WrongAnswer(Exception):
    """A worker raised, or answered what its function does not return; the message says it."""


class Answer(msgspec.Struct, Generic[R], frozen=True):
    """What came of a call in a worker: `result`, or why there is none.

    `refused` is the message of a `UsageError`, `broke` any other exception in one line, `lacks` the
    digest of a file that is to be sent first; `spans` are when implementations were at work.
    """

    result: R | msgspec.UnsetType = msgspec.UNSET
    refused: str = ""
    broke: str = ""
    lacks: str = ""
    spans: list[stopwatch.Span] = []


class Packed(msgspec.Struct, frozen=True):
    """An array: its bytes, and NumPy's code of its dtype, or the name where NumPy has no code."""

    dtype: str
    shape: tuple[Annotated[int, msgspec.Meta(ge=0)], ...]
    data: bytes


def answer(function: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> bytes:
    """Call a function (in a worker), and write what came of it."""
    try:
        return _written(Answer(function(*args, **kwargs), spans=stopwatch.take()))
    except UsageError as error:
        return _written(Answer(refused=str(error)))
    except Lacking as lacking:
        return _written(Answer(lacks=lacking.args[0]))
    except BaseException as error:
        return _written(Answer(broke=explain(error)))


def read(told: Any, function: Callable[..., R]) -> R:
    """Return what a function returned in a worker.

    Args:
        told: the bytes that are its answer, if all is well.
        function: what was called; its annotation says what it returns.

    Raises:
        UsageError: the function raised one.
        Lacking: the worker has first to be sent a file.
        WrongAnswer: it raised anything else, or this is no answer of it.
    """
    expected: Any = get_type_hints(function).get("return", Any)
    kind: Any = Answer[expected]
    try:
        found = msgspec.msgpack.decode(told, type=kind, dec_hook=_unpacked)
    except Exception as error:  # whatever was sent
        name = getattr(expected, "__name__", expected)
        raise WrongAnswer(f"returned what is no {name}: {one_line(error)}") from None
    stopwatch.note(found.spans)
    if found.refused:
        raise UsageError(found.refused)
    if found.lacks:
        raise Lacking(found.lacks)
    if found.broke or found.result is msgspec.UNSET:
        raise WrongAnswer(one_line(found.broke) or "returned nothing")
    result: R = found.result
    return result


def in_lines(told: T) -> T:
    """Return plain data with every text in it as one printable line of bounded length.

    Terminals, records and pages show what implementations say; arrays are left as they are.
    """
    found: Any = told
    if isinstance(told, NO_TEXT):
        return told
    if isinstance(told, str):
        found = one_line(told)
    elif isinstance(told, tuple | list):
        found = type(told)(map(in_lines, told))
    elif isinstance(told, dict):
        found = {in_lines(key): in_lines(value) for key, value in told.items()}
    elif isinstance(told, msgspec.Struct):
        names = told.__struct_fields__
        found = msgspec.structs.replace(told, **{n: in_lines(getattr(told, n)) for n in names})
    elif is_dataclass(told) and not isinstance(told, type):
        found = replace(told, **{f.name: in_lines(getattr(told, f.name)) for f in fields(told)})
    return cast(T, found)


def checked(outcome: Outcome, case: Case) -> Outcome:
    """Return an outcome that can be one of the case as it is; else an error that says why not."""
    outcome = in_lines(outcome)
    verdict, trouble = outcome.verdict, outcome.trouble
    if (verdict and verdict.is_right) or (trouble and trouble.verdict.is_right):
        wrong = "returned a verdict that only judging comes to"
    else:
        wrong = "" if verdict else _wrong(outcome, case)
    return Outcome(verdict=Verdict.ERROR, reason=f"its process {wrong}") if wrong else outcome


def _wrong(outcome: Outcome, case: Case) -> str:
    """Say what is wrong with the arrays; "" if nothing is. A gradient's form is the verdict's."""
    config, arrays = case.config, outcome.arrays
    batch = () if case.B is None else (case.B,)
    x, x_next = (
        (*batch, T, config.input_size) if config.batch_first else (T, *batch, config.input_size)
        for T in (case.T, 1)
    )
    shapes = result_shapes(config, x)
    if case.one_more_step:
        shapes |= {f"next_{name}": shape for name, shape in result_shapes(config, x_next).items()}
    expected = {name: f"{numpy_dtype(case.dtype)} {shape}" for name, shape in shapes.items()}
    given = ["x", *parameter_shapes(config), *(f"{s}0" for s in config.states if case.h0)]
    gradients = arrays.keys() & {f"grad_{name}" for name in given}
    if 0 < len(gradients) < len(given):
        return f"returned {len(gradients)} gradients, expected {len(given)}"
    expected |= {name: _form(arrays[name]) for name in gradients}
    whole = [arrays, *(r for name, r in outcome.invariants.items() if name != invariants.REPEATED)]
    for name in ALWAYS:
        if not all(name in result for result in whole):
            return f"returned no {name}"
    results = {"": arrays, "all rows weighed: ": outcome.every_row}
    results |= {f"{name}: ": result for name, result in outcome.invariants.items()}
    for where, result in results.items():
        for name, array in result.items():
            wanted = expected.get(name, "no such quantity") if name in arrays else "none"
            if _form(array) != wanted:
                return f"returned {where}{name} as {_form(array)}, expected {wanted}"
    return ""


def _form(array: Array) -> str:
    return f"{array.dtype} {array.shape}"


def _written(told: Answer[Any]) -> bytes:
    return msgspec.msgpack.encode(told, enc_hook=_packed)


def _packed(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if not isinstance(value, np.ndarray):
        raise TypeError(f"a {type(value).__name__} is no plain data")
    dtype = value.dtype
    code = dtype.str if np.dtype(dtype.str) == dtype else dtype.name
    return Packed(code, value.shape, value.tobytes())


def _unpacked(kind: Any, told: Any) -> Array:
    packed = msgspec.convert(told, Packed)
    found: Array = np.frombuffer(packed.data, packed.dtype).reshape(packed.shape)
    return found
