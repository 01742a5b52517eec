"""The border to PyTorch."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rnnparity import dtypes
from rnnparity.borders import Arrays, Function, Gradients, Prepare, Run
from rnnparity.errors import ContractViolation
from rnnparity.settings import Settings


class TorchBorder:
    """PyTorch on the CPU, on CUDA devices, and on Apple's MPS."""

    framework = "torch"

    def __init__(self, settings: Settings) -> None:
        """Set threads, and the precision of matrix products."""
        torch.set_num_threads(settings.threads)
        tf32 = settings.matmul_precision == "tf32"
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32

    def devices(self) -> list[str]:
        """Return the CPU, then every CUDA device, then MPS."""
        found = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        return [*found, "mps"] if torch.backends.mps.is_available() else found

    def dtypes(self, device: str) -> tuple[str, ...]:
        """Return all dtypes, less float64 on MPS, which has none."""
        return tuple(name for name in dtypes.NAMES if device != "mps" or name != "float64")

    def from_numpy(self, array: NDArray[Any], device: str) -> torch.Tensor:
        """Copy; bfloat16 crosses as its bits, since PyTorch takes none from NumPy."""
        if array.dtype.name == "bfloat16":
            bits = torch.from_numpy(array.view(np.int16).copy())
            return bits.view(torch.bfloat16).to(device)
        return torch.from_numpy(array.copy()).to(device)

    def to_numpy(self, array: Any) -> NDArray[Any]:
        """Copy; bfloat16 crosses as its bits."""
        if not isinstance(array, torch.Tensor):
            raise ContractViolation(f"expected a torch.Tensor, got a {type(array).__name__}")
        array = array.detach().cpu().clone()
        if array.dtype == torch.bfloat16:
            bits: NDArray[Any] = array.view(torch.int16).numpy()
            return bits.view(dtypes.numpy_dtype("bfloat16"))
        values: NDArray[Any] = array.numpy()
        return values

    def device_of(self, array: torch.Tensor) -> str:
        """Return PyTorch's own name of the device."""
        return str(array.device)

    def synchronize(self, value: Any) -> None:
        """Wait for the device of the first array."""
        array = value[0] if isinstance(value, tuple) else value
        if array.device.type == "cuda":
            torch.cuda.synchronize(array.device)
        elif array.device.type == "mps":
            torch.mps.synchronize()

    def compiled(self, function: Function) -> Function:
        """PyTorch runs a function as it is."""
        return function

    def can_take(self, prepared: Any) -> bool:
        """A Python function takes anything."""
        return True

    def unrecorded(self) -> AbstractContextManager[Any]:
        """Switch autograd off."""
        return torch.no_grad()

    def leaf(self, array: torch.Tensor) -> torch.Tensor:
        """Return a parameter, as a module holds it."""
        return torch.nn.Parameter(array.clone())

    def gradients(self, prepare: Prepare, run: Run) -> Gradients:
        """Differentiate by autograd."""

        def begin(weights: Arrays) -> Callable[..., Any]:
            kept: list[torch.Tensor] = []  # by the graph of what is prepared, which calls share

            def keep(tensor: torch.Tensor) -> torch.Tensor:
                kept.append(tensor)
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                prepared = prepare(weights)

            def differentiate(
                states: Arrays, lengths: Any, upstream: tuple[Any, Any]
            ) -> tuple[Any, Arrays]:
                leaves = weights | states
                outputs = run(prepared, states["x"], states.get("h0"), lengths)
                found = torch.autograd.grad(
                    outputs,
                    list(leaves.values()),
                    upstream,
                    retain_graph=bool(kept),
                    allow_unused=True,
                )
                return outputs, {
                    name: torch.zeros_like(leaf) if gradient is None else gradient
                    for (name, leaf), gradient in zip(leaves.items(), found, strict=True)
                }

            return differentiate

        return begin

    def versions(self) -> dict[str, str]:
        """Return PyTorch's version, and those of CUDA and cuDNN where it has them."""
        found = {
            "torch": str(torch.__version__),
            "torch_threads": str(torch.get_num_threads()),
            "torch_mkldnn": str(torch.backends.mkldnn.is_available()),
            "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
        }
        if torch.cuda.is_available():
            found["cuda"] = str(torch.version.cuda)
            found["cudnn"] = str(torch.backends.cudnn.version())
            found["gpu"] = torch.cuda.get_device_name()
        return found


border = TorchBorder
