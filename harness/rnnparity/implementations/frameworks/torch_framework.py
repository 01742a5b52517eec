"""The border to PyTorch: its devices, dtypes, arrays and gradients."""

import re
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rnnparity.errors import ContractViolation
from rnnparity.implementations.frameworks import (
    Arrays,
    Border,
    Differentiator,
    Prepare,
    WholeRun,
    initial,
    parts,
)
from rnnparity.implementations.settings import Settings
from rnnparity.problems import dtypes

# What `torch.set_float32_matmul_precision` calls the precisions.
OF_PRODUCTS = {"float32": "highest", "tf32": "high", "bfloat16": "medium"}

# Below `torch.backends`: what says in which precision products run, and what does since 2.9.
_TF32 = ("cuda.matmul.allow_tf32", "cudnn.allow_tf32")
_PRECISIONS = tuple(
    f"{of}.fp32_precision"
    for of in ("cuda.matmul", "mkldnn.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.rnn")
)

# What these call the precisions: cuDNN, which has no bfloat16 for float32, and oneDNN.
_OF_CUDNN = {"float32": "ieee", "tf32": "tf32", "bfloat16": "tf32"}
_OF_ONEDNN = {"float32": "ieee", "tf32": "tf32", "bfloat16": "bf16"}


class TorchBorder(Border):
    """PyTorch on the CPU, on CUDA devices, and on Apple's MPS."""

    framework = "torch"

    def __init__(self, settings: Settings) -> None:
        """Hold nothing."""

    def apply(self, settings: Settings) -> Callable[[], None]:
        """Set threads, and the precision of matrix products."""
        precisions, recording = _state(), _recorded()
        _set(settings.threads, settings.matmul_precision)

        def put_back() -> None:
            recording.close()
            precisions()

        return put_back

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
        if array.layout != torch.strided or array.device.type == "meta":
            told = f"one of layout {array.layout} on {array.device}"
            raise ContractViolation(f"expected a dense torch.Tensor, got {told}")
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

    def mark(self, device: str) -> Any:
        """Record an event of CUDA's; other devices have none."""
        if not device.startswith("cuda"):
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(device))
        return event

    def memory(self, device: str, forget: bool = False) -> tuple[int, int] | None:
        """Return what PyTorch's allocator tells of a CUDA device."""
        if not device.startswith("cuda"):
            return None
        if forget:
            torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device), torch.cuda.max_memory_allocated(device)

    def unrecorded(self) -> AbstractContextManager[Any]:
        """Switch autograd off."""
        return torch.no_grad()

    def leaf(self, array: torch.Tensor) -> torch.Tensor:
        """Return a parameter, as a module holds it."""
        return torch.nn.Parameter(array.clone())

    def gradients(self, prepare: Prepare, run: WholeRun) -> Differentiator:
        """Differentiate by autograd."""

        def begin(weights: Arrays) -> Callable[..., Any]:
            kept: list[torch.Tensor] = []  # by the graph of what is prepared, which calls share

            def keep(tensor: torch.Tensor) -> torch.Tensor:
                kept.append(tensor)
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                prepared = prepare(weights)

            def differentiate(
                states: Arrays, lengths: Any, upstream: tuple[Any, ...]
            ) -> tuple[Any, Arrays]:
                leaves = weights | states

                def outputs_and_gradients() -> tuple[Any, Any]:
                    outputs = run(prepared, states["x"], initial(states), lengths)
                    found = parts(outputs)
                    return outputs, torch.autograd.grad(
                        found,
                        list(leaves.values()),
                        upstream[: len(found)],
                        retain_graph=bool(kept),
                        allow_unused=True,
                    )

                try:
                    outputs, found = outputs_and_gradients()
                except RuntimeError as error:
                    if "modified by an inplace operation" in str(error):
                        _note_where(error, outputs_and_gradients)
                    raise
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
            names = map(torch.cuda.get_device_name, range(torch.cuda.device_count()))
            found["gpu"] = ", ".join(names)
        return found


def _set(threads: int, precision: str) -> None:
    torch.set_num_threads(threads)
    # "bfloat16" is nothing that CUDA has for float32 products: there it allows TF32.
    tf32 = precision != "float32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.set_float32_matmul_precision(OF_PRODUCTS[precision])  # of oneDNN, too
    # RNNs have settings of their own. cuDNN's is TF32 if nobody says otherwise; oneDNN's follows
    # one for all operations, which a user may have set.
    for path, names in (("cudnn.rnn", _OF_CUDNN), ("mkldnn.rnn", _OF_ONEDNN)):
        with suppress(AttributeError):  # before PyTorch 2.9
            _get(f"{path}.fp32_precision")
            _put(f"{path}.fp32_precision", names[precision])


def _recorded() -> ExitStack:
    """Make sure that gradients can be taken, also inside of somebody's `torch.no_grad()`."""
    stack = ExitStack()
    if torch.is_inference_mode_enabled():
        stack.enter_context(torch.inference_mode(False))
    if not torch.is_grad_enabled():
        stack.enter_context(torch.enable_grad())
    return stack


def _state() -> Callable[[], None]:
    """Note what `_set` changes, also what follows from it, and return what puts it back."""
    held: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = [
        (torch.get_num_threads, torch.set_num_threads),
        *((partial(_get, path), partial(_put, path)) for path in _TF32),
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        *((partial(_get, path), partial(_put, path)) for path in _PRECISIONS),
    ]
    kept = []
    for get, put in held:
        # An older PyTorch has no such name, and a newer one refuses to tell an older name's value
        # where newer names were used: then these say all there is.
        with suppress(AttributeError, RuntimeError):
            kept.append((put, get()))

    def put_back() -> None:
        for put, value in kept:
            put(value)

    return put_back


def _get(path: str) -> Any:
    return attrgetter(path)(torch.backends)


def _put(path: str, value: Any) -> None:
    holder, _, name = path.rpartition(".")
    setattr(_get(holder), name, value)


def _note_where(error: RuntimeError, again: Callable[[], Any]) -> None:
    """Add to an error the line whose value was overwritten, which PyTorch's anomaly mode knows."""
    with warnings.catch_warnings(record=True) as told, suppress(RuntimeError):
        warnings.simplefilter("always")
        with torch.autograd.detect_anomaly(check_nan=False):
            again()
    places = re.findall(r'File "(.+?)", line (\d+)', " ".join(str(one.message) for one in told))
    if places:
        file, line = places[-1]
        error.add_note(f"{Path(file).name}:{line}")


border = TorchBorder
