"""The border to JAX: its devices, dtypes, arrays and gradients."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from functools import cache, partial
from importlib import import_module
from importlib.metadata import distributions
from threading import Thread
from typing import Any, cast

import jax
import jaxlib
import numpy as np
from numpy.typing import NDArray

from rnnparity.errors import ContractViolation
from rnnparity.implementations.frameworks import (
    Arrays,
    Border,
    Differentiator,
    Function,
    Prepare,
    WholeRun,
    initial,
)
from rnnparity.implementations.settings import Settings
from rnnparity.problems import dtypes

# Context managers of the settings that have one, which hold for a thread; x64's was elsewhere.
_X64 = jax if hasattr(jax, "enable_x64") else import_module("jax.experimental")
_CONTEXTS: dict[str, Callable[[Any], AbstractContextManager[Any]]] = {
    "jax_enable_x64": _X64.enable_x64,
    "jax_default_matmul_precision": jax.default_matmul_precision,
}


class JaxBorder(Border):
    """JAX on the CPU and on CUDA devices; x64 is on, so that float64 is float64."""

    framework = "jax"

    def __init__(self, settings: Settings) -> None:
        """Hold nothing."""

    def apply(self, settings: Settings) -> Callable[[], None]:
        """Make sure of x64 and of the precision of matrix products.

        Every result is waited for: handing each call to another thread would only add to it.
        """
        wanted = {
            "jax_enable_x64": True,
            "jax_cpu_enable_async_dispatch": False,
            "jax_default_matmul_precision": settings.jax_matmul_precision,
        }
        before = _everywhere(wanted)
        _update(wanted)
        contexts = ExitStack()
        # What a `with jax.enable_x64(False)` around this call says goes before what is set for all.
        for name, context in _CONTEXTS.items():
            if jax.config.values[name] != wanted[name]:
                contexts.enter_context(context(wanted[name]))

        def put_back() -> None:
            contexts.close()
            _update(before)

        return put_back

    def devices(self) -> list[str]:
        """Return the CPU, then every CUDA device."""
        try:
            cuda = jax.devices("cuda")
        except RuntimeError:  # how JAX says that it has no such backend
            cuda = []
        return ["cpu", *(f"cuda:{i}" for i in range(len(cuda)))]

    def dtypes(self, device: str) -> tuple[str, ...]:
        """Return all dtypes, but for float16 on a CPU for which XLA cannot compile it.

        XLA leaves conversions to instructions that came with AVX (F16C), and has none for older
        processors: it does not compile there.
        """
        if device == "cpu" and not _has_float16():
            return tuple(name for name in dtypes.NAMES if name != "float16")
        return dtypes.NAMES

    def from_numpy(self, array: NDArray[Any], device: str) -> jax.Array:
        """Copy to the device, and commit it there."""
        copy: jax.Array = jax.device_put(np.array(array), self._device(device), may_alias=False)
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
        for array in value if isinstance(value, tuple) else (value,):
            wait = getattr(array, "block_until_ready", None)
            if wait is not None:
                wait()

    def memory(self, device: str, forget: bool = False) -> tuple[int, int] | None:
        """Return what XLA's allocator tells of a CUDA device; the most since its beginning."""
        told = None if device == "cpu" else self._device(device).memory_stats()
        return (told["bytes_in_use"], told["peak_bytes_in_use"]) if told else None

    def _device(self, name: str) -> jax.Device:
        kind, _, index = name.partition(":")
        return jax.devices(kind)[int(index or 0)]

    def compiled(self, function: Function) -> Function:
        """Compile the whole function."""
        return cast(Function, jax.jit(function))

    def can_take(self, prepared: Any) -> bool:
        """A compiled function takes containers of arrays."""
        return all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(prepared))

    def leaf(self, array: jax.Array) -> jax.Array:
        """Return the array: it cannot be changed."""
        return array

    def gradients(self, prepare: Prepare, run: WholeRun) -> Differentiator:
        """Differentiate by `jax.vjp`, compiled."""

        @jax.jit
        def pulled_back(weights: Arrays, states: Arrays, lengths: Any, upstream: Any) -> Any:
            def function(weights: Arrays, states: Arrays) -> Any:
                return run(prepare(weights), states["x"], initial(states), lengths)

            outputs, pull_back = jax.vjp(function, weights, states)
            leaves, tree = jax.tree.flatten(outputs)
            given = jax.tree.unflatten(tree, upstream[: len(leaves)])
            of_weights, of_states = pull_back(given)
            return outputs, of_weights | of_states

        return lambda weights: partial(pulled_back, weights)

    def versions(self) -> dict[str, str]:
        """Return the versions of JAX and of jaxlib, which holds XLA; of CUDA where it has it."""
        found = {"jax": jax.__version__, "jaxlib": jaxlib.version.__version__}
        if "cuda:0" in self.devices():
            found["platform"] = " ".join(self._device("cuda:0").client.platform_version.split())
            found["gpu"] = ", ".join(device.device_kind for device in jax.devices("cuda"))
            for package in distributions():
                if package.name.startswith(("jax-cuda", "nvidia-cudnn", "nvidia-cuda-runtime")):
                    found[package.name] = package.version
        return found


def _everywhere(names: Iterable[str]) -> dict[str, Any]:
    """Return what JAX's settings are where no context manager says otherwise: in a new thread."""
    found: dict[str, Any] = {}
    thread = Thread(target=lambda: found.update({name: jax.config.values[name] for name in names}))
    thread.start()
    thread.join()
    return found


def _update(values: dict[str, Any]) -> None:
    for name, value in values.items():
        jax.config.update(name, value)


@cache
def _has_float16() -> bool:
    """Whether XLA compiles float16 for this CPU, or for the one that XLA_FLAGS tells it."""
    small = jax.ShapeDtypeStruct((2, 2), "float16")
    with jax.default_device(jax.devices("cpu")[0]):
        try:
            jax.jit(lambda a: jax.numpy.tanh(a @ a)).lower(small).compile()
        except jax.errors.JaxRuntimeError:
            return False
    return True


border = JaxBorder
