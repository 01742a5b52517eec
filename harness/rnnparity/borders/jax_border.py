"""The border to JAX."""

from collections.abc import Callable
from typing import Any, cast

import jax
import jaxlib
import numpy as np
from numpy.typing import NDArray

from rnnparity import dtypes
from rnnparity.borders import Function, Gradients
from rnnparity.errors import ContractViolation
from rnnparity.settings import Settings


class JaxBorder:
    """JAX on the CPU and on CUDA devices; x64 is on, so that float64 is float64."""

    framework = "jax"

    def __init__(self, settings: Settings) -> None:
        """Make sure of x64 and of the precision of matrix products."""
        jax.config.update("jax_enable_x64", True)
        full = settings.matmul_precision == "float32"
        jax.config.update("jax_default_matmul_precision", "highest" if full else "tensorfloat32")

    def devices(self) -> list[str]:
        """Return the CPU, then every CUDA device."""
        try:
            cuda = jax.devices("cuda")
        except RuntimeError:  # how JAX says that it has no such backend
            cuda = []
        return ["cpu", *(f"cuda:{i}" for i in range(len(cuda)))]

    def dtypes(self, device: str) -> tuple[str, ...]:
        """Return all dtypes."""
        return dtypes.NAMES

    def from_numpy(self, array: NDArray[Any], device: str) -> jax.Array:
        """Copy to the device, and commit it there."""
        kind, _, index = device.partition(":")
        copy: jax.Array = jax.device_put(
            np.array(array), jax.devices(kind)[int(index or 0)], may_alias=False
        )
        return copy

    def to_numpy(self, array: Any) -> NDArray[Any]:
        """Copy; JAX's bfloat16 is ml_dtypes'."""
        if not isinstance(array, jax.Array):
            raise ContractViolation(f"expected a jax.Array, got a {type(array).__name__}")
        return np.array(array)

    def device_of(self, array: jax.Array) -> str:
        """Return "cpu" or "cuda:N"."""
        (device,) = array.devices()
        return "cpu" if device.platform == "cpu" else f"cuda:{device.id}"

    def synchronize(self, value: Any) -> None:
        """Wait for every array."""
        jax.block_until_ready(value)

    def forward(self, function: Function) -> Function:
        """Compile the whole function."""
        return cast(Function, jax.jit(function))

    def gradients(self, function: Callable[[dict[str, Any], Any], Any]) -> Gradients:
        """Differentiate by `jax.vjp`, compiled."""

        def pulled_back(inputs: dict[str, Any], lengths: Any, upstream: Any) -> Any:
            outputs, pull_back = jax.vjp(lambda given: function(given, lengths), inputs)
            return outputs, pull_back(upstream)[0]

        return cast(Gradients, jax.jit(pulled_back))

    def versions(self) -> dict[str, str]:
        """Return the versions of JAX and of jaxlib, which holds XLA."""
        return {"jax": jax.__version__, "jaxlib": jaxlib.version.__version__}


border = JaxBorder
