"""The border: one small class per framework, the only place where arrays cross.

Every class has the names of `Border`. A framework is imported when its border is asked for.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

from rnnparity.implementations.settings import Settings
from rnnparity.implementations.sources import version_of

Arrays = dict[str, Any]
# Given weights, returns what is given x and h0, lengths (or None) and the gradients of output and
# h_n, and returns (output, h_n) and a gradient for every weight and for x and h0, by their names.
Differentiator = Callable[[Arrays], Callable[[Arrays, Any, tuple[Any, Any]], tuple[Any, Arrays]]]
Prepare = Callable[[Arrays], Any]
WholeRun = Callable[[Any, Any, Any, Any], tuple[Any, Any]]  # what was prepared, x, h0, lengths
Function = TypeVar("Function", bound=Callable[..., Any])

FRAMEWORKS = ("numpy", "jax", "torch")

# Kinds of devices, as frameworks name them here.
KINDS = ("cpu", "cuda", "mps")

# The extra that brings a package, by the name under which that is imported.
_LIBRARIES = (
    *("torch", "jax", "flax", "keras", "equinox", "haiku", "mlx", "paddle", "tinygrad", "numba"),
    *("onnx", "onnxruntime", "openvino", "tract"),
)
_EXTRAS = {name: name for name in _LIBRARIES} | {"tensorflow": "keras-tensorflow"}


class Border(Protocol):
    """What the harness needs of a framework; what has a body is so unless one says otherwise."""

    framework: str

    def __init__(self, settings: Settings) -> None:
        """Import the framework; nothing of it is changed yet."""

    def apply(self, settings: Settings) -> Callable[[], None]:
        """Set what can only be set after the framework's import, for all of the process.

        Returns:
            What puts everything back as it was.
        """
        return lambda: None

    def __hash__(self) -> int:
        """Borders are kept with what was compiled for them."""
        return id(self)

    def devices(self) -> list[str]:
        """Return the devices found, "cpu" first, then "cuda:0", ... or "mps"."""

    def dtypes(self, device: str) -> tuple[str, ...]:
        """Return the dtypes that the framework has on a device."""

    def from_numpy(self, array: NDArray[Any], device: str) -> Any:
        """Copy an array to a device, bit by bit; the copy shares no memory with `array`."""

    def to_numpy(self, array: Any) -> NDArray[Any]:
        """Copy an array back, bit by bit, in its own dtype.

        Raises:
            ContractViolation: it is no array of the framework.
        """

    def device_of(self, array: Any) -> str:
        """Return the name of the device that holds an array."""

    def synchronize(self, value: Any) -> None:
        """Wait until every array in `value` has been computed."""

    def mark(self, device: str) -> Any:
        """Put a mark behind the work that was handed to a device, to be timed when it is reached.

        Returns:
            What has `elapsed_time(later)`, in ms, once both were reached; None if there is none.
        """
        return None

    def memory(self, device: str, forget: bool = False) -> tuple[int, int] | None:
        """Return the bytes that arrays take on a device, and the most that they took.

        Args:
            device: a name from `devices`.
            forget: whether the most is to begin anew, where the framework can.

        Returns:
            None where the framework does not tell.
        """
        return None

    def compiled(self, function: Function) -> Function:
        """Return a function compiled as a whole, where the framework has a compiler."""
        return function

    def can_take(self, prepared: Any) -> bool:
        """Whether a compiled function can take this as an argument, as a Python function can."""
        return True

    def unrecorded(self) -> AbstractContextManager[Any]:
        """Return a context in which nothing is recorded for gradients."""
        return nullcontext()

    def leaf(self, array: Any) -> Any:
        """Return an array with respect to which gradients can be taken; it shares no memory."""

    def gradients(self, prepare: Prepare, run: WholeRun) -> Differentiator:
        """Differentiate what `run` does on what `prepare` makes, by the framework's autodiff.

        Weights, x and h0 are leaves; they are left as they are.
        """

    def versions(self) -> dict[str, str]:
        """Return the versions of the framework and of what it computes with."""


def initial(states: Arrays) -> Any:
    """Return initial states as a whole RNN takes them: h0, an LSTM's (h0, c0), or None."""
    return (states["h0"], states["c0"]) if "c0" in states else states.get("h0")


def parts(result: Any) -> list[Any]:
    """Return the arrays of a result: output, h_n and an LSTM's c_n, if it is told."""
    output, last = result
    states = last if isinstance(last, tuple | list) else (last,)
    return [array for array in (output, *states) if array is not None]


def get(framework: str, settings: Settings) -> Border:
    """Import a framework, set it as the settings say, for good, and return its border."""
    border = imported(framework, settings)
    border.apply(settings)
    return border


def imported(framework: str, settings: Settings) -> Border:
    """Import a framework and return its border; nothing of it is changed, see `as_set`."""
    border: Border = import_module(
        f"rnnparity.implementations.frameworks.{framework}_framework"
    ).border(settings)
    return border


@contextmanager
def as_set(border: Border, settings: Settings) -> Iterator[None]:
    """Set a framework as the settings say, and back at the end: the process is somebody else's."""
    put_back = border.apply(settings)
    try:
        yield
    finally:
        put_back()


def loaded() -> dict[str, str]:
    """Return the versions of the frameworks that this process has imported."""
    there = sorted({*FRAMEWORKS, *_EXTRAS} & {*sys.modules})
    return {name: version for name in there if (version := version_of(name))}


def install_hint(package: str) -> str:
    """Return the command that installs what is missing."""
    extra = _EXTRAS.get(package)
    return f"pip install 'rnnparity[{extra}]'" if extra else f"pip install {package}"
