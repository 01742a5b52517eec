"""The border: one small class per framework, the only place where arrays cross.

Every class has the names of `Border`. A framework is imported when its border is asked for.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

from rnnparity.settings import Settings

Gradients = Callable[[dict[str, Any], Any, tuple[Any, Any]], tuple[Any, dict[str, Any]]]
Function = TypeVar("Function", bound=Callable[..., Any])

FRAMEWORKS = ("numpy", "jax", "torch")

_INSTALL = {name: f"pip install 'rnnparity[{name}]'" for name in ("torch", "jax")}


class Border(Protocol):
    """What the harness needs of a framework."""

    framework: str

    def __init__(self, settings: Settings) -> None:
        """Import the framework and apply what can only be set after its import."""

    def __hash__(self) -> int:
        """Borders are kept with what was compiled for them."""

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

    def forward(self, function: Function) -> Function:
        """Make a function ready to be run for its values: compiled, nothing recorded."""

    def gradients(self, function: Callable[[dict[str, Any], Any], Any]) -> Gradients:
        """Differentiate a function by the framework's autodiff.

        Args:
            function: takes named inputs and lengths (or None), returns (output, h_n).

        Returns:
            Takes the inputs, the lengths, and the gradients of output and h_n; returns what the
            function returned, and a gradient for every input, under its name. The inputs are left
            as they are.
        """

    def versions(self) -> dict[str, str]:
        """Return the versions of the framework and of what it computes with."""


def get(framework: str, settings: Settings) -> Border:
    """Import a framework and return its border."""
    border: Border = import_module(f"rnnparity.borders.{framework}_border").border(settings)
    return border


def install_hint(package: str) -> str:
    """Return the command that installs what is missing."""
    return _INSTALL.get(package, f"pip install {package}")
