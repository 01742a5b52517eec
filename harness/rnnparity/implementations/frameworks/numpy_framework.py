"""The border to NumPy: its devices, dtypes, arrays and gradients."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnparity.errors import ContractViolation
from rnnparity.implementations.frameworks import Border, Differentiator, Prepare, WholeRun
from rnnparity.implementations.settings import Settings
from rnnparity.problems import dtypes


class NumpyBorder(Border):
    """NumPy on the CPU; threads come from the environment, set before the import."""

    framework = "numpy"

    def __init__(self, settings: Settings) -> None:
        """NumPy has nothing to hold, and nothing to set after its import."""

    def devices(self) -> list[str]:
        """Return the CPU."""
        return ["cpu"]

    def dtypes(self, device: str) -> tuple[str, ...]:
        """Return all dtypes; bfloat16 is ml_dtypes'."""
        return dtypes.NAMES

    def from_numpy(self, array: NDArray[Any], device: str) -> NDArray[Any]:
        """Copy."""
        return array.copy()

    def to_numpy(self, array: Any) -> NDArray[Any]:
        """Copy."""
        if not isinstance(array, np.ndarray):
            raise ContractViolation(f"expected a numpy.ndarray, got a {type(array).__name__}")
        return np.array(array, subok=False)

    def device_of(self, array: Any) -> str:
        """Return the CPU."""
        return "cpu"

    def synchronize(self, value: Any) -> None:
        """NumPy returns when it is done."""

    def leaf(self, array: NDArray[Any]) -> NDArray[Any]:
        """Copy."""
        return array.copy()

    def gradients(self, prepare: Prepare, run: WholeRun) -> Differentiator:
        """NumPy has no autodiff; an implementation brings a `layer_backward`."""
        raise NotImplementedError

    def versions(self) -> dict[str, str]:
        """Return NumPy's version and its BLAS, as threadpoolctl finds it."""
        from threadpoolctl import threadpool_info

        found = {"numpy": np.__version__}
        for library in threadpool_info():
            if library["user_api"] == "blas":
                details = (library["internal_api"], library["version"], library.get("architecture"))
                found["blas"] = " ".join(str(part) for part in details if part)
                found["blas_threads"] = str(library["num_threads"])
        return found


border = NumpyBorder
