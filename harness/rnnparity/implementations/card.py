"""An NVIDIA card beside the frameworks: its caches emptied, its clock read, its name.

By the driver's own libraries (CUDA's driver API and NVML), so that it is the same for every
framework, and there without any; a machine that has none of them has no card.
"""

import ctypes
import re
import sys
from contextlib import contextmanager
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from functools import cache
from typing import Any, NamedTuple

# So many times the L2 cache's size are written to empty it: lines are not replaced in order.
FLUSHED = 4

# `CUdevice_attribute` and NVML's `nvmlClockType_t`.
_L2_BYTES, _SM_CLOCK = 38, 1

# NVML's reasons for a clock below the one that is set; idleness and the setting are none.
THROTTLED = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "temperature",
    0x40: "temperature, by hardware",
    0x80: "power brake",
}


class State(NamedTuple):
    """What a card does at a moment."""

    clock: float  # of its multiprocessors, in MHz
    throttled: tuple[str, ...]  # the reasons, in words


class Card:
    """One card, by the number that frameworks give it."""

    def __init__(self, index: int, cuda: Any, nvml: Any) -> None:
        """Find it.

        Args:
            index: as in "cuda:0".
            cuda: the driver's library of CUDA.
            nvml: its library of management.

        Raises:
            OSError: the driver refuses.
        """
        self._cuda, self._nvml, self._buffer = cuda, nvml, c_ulonglong()
        self._device, self._context, self._handle = c_int(), c_void_p(), c_void_p()
        place = ctypes.create_string_buffer(64)
        self._call("cuInit", c_uint(0))
        self._call("cuDeviceGet", byref(self._device), c_int(index))
        self._call("cuDeviceGetPCIBusId", place, c_int(len(place)), self._device)
        self._manage("nvmlInit_v2")
        # By its place: NVML counts cards that CUDA_VISIBLE_DEVICES hides.
        self._manage("nvmlDeviceGetHandleByPciBusId_v2", c_char_p(place.value), byref(self._handle))

    def flush(self) -> None:
        """Overwrite the L2 cache, and let go of what was set to persist in it."""
        with self._in_context():
            size = c_size_t(FLUSHED * self.l2_bytes)
            if not self._buffer:
                self._call("cuMemAlloc_v2", byref(self._buffer), size)
            self._cuda.cuCtxResetPersistingL2Cache()  # refused by cards on which nothing persists
            self._call("cuMemsetD8_v2", self._buffer, ctypes.c_ubyte(0), size)
            self._call("cuCtxSynchronize")

    @property
    def l2_bytes(self) -> int:
        """The size of its L2 cache."""
        found = c_int()
        self._call("cuDeviceGetAttribute", byref(found), c_int(_L2_BYTES), self._device)
        return found.value

    def state(self) -> State:
        """Read its clock, and whether something holds that down."""
        clock, reasons = c_uint(), c_ulonglong()
        self._manage("nvmlDeviceGetClockInfo", self._handle, c_int(_SM_CLOCK), byref(clock))
        name = "nvmlDeviceGetCurrentClocks{}Reasons"  # the first of two names since driver 535
        newer = hasattr(self._nvml, name.format("Event"))
        told_by = name.format("Event" if newer else "Throttle")
        self._manage(told_by, self._handle, byref(reasons))
        told = tuple(text for bit, text in THROTTLED.items() if reasons.value & bit)
        return State(float(clock.value), told)

    def describe(self) -> dict[str, Any]:
        """Return its name, the bytes of its memory and L2 cache, and the driver's version."""
        name, driver = ctypes.create_string_buffer(96), ctypes.create_string_buffer(96)
        self._manage("nvmlDeviceGetName", self._handle, name, c_uint(len(name)))
        self._manage("nvmlSystemGetDriverVersion", driver, c_uint(len(driver)))
        memory = c_size_t()
        self._call("cuDeviceTotalMem_v2", byref(memory), self._device)
        return {
            "name": name.value.decode(),
            "memory_bytes": memory.value,
            "l2_bytes": self.l2_bytes,
            "driver": driver.value.decode(),
        }

    @contextmanager
    def _in_context(self) -> Any:
        """Be in the context that the frameworks use, for calls that need one."""
        if not self._context:
            self._call("cuDevicePrimaryCtxRetain", byref(self._context), self._device)
        self._call("cuCtxPushCurrent_v2", self._context)
        try:
            yield
        finally:
            self._call("cuCtxPopCurrent_v2", byref(c_void_p()))

    def _call(self, name: str, *arguments: Any) -> None:
        _checked(self._cuda, name, *arguments)

    def _manage(self, name: str, *arguments: Any) -> None:
        _checked(self._nvml, name, *arguments)


def _checked(library: Any, name: str, *arguments: Any) -> None:
    code = getattr(library, name)(*arguments)
    if code:
        raise OSError(f"{name} failed with {code}")


@cache
def find(device: str) -> Card | None:
    """Return the card that is called "cuda:N"; None for other devices, or where there is none."""
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return None
    try:
        return Card(int(index or 0), _library("cuda"), _library("nvidia-ml"))
    except (OSError, AttributeError):  # no such library, no such card, or an older driver
        return None


def _library(name: str) -> Any:
    windows = {"cuda": "nvcuda.dll", "nvidia-ml": "nvml.dll"}
    return ctypes.CDLL(windows[name] if sys.platform == "win32" else f"lib{name}.so.1")


def found() -> list[dict[str, Any]]:
    """Describe all cards that frameworks can see."""
    cards: list[dict[str, Any]] = []
    while (card := find(f"cuda:{len(cards)}")) is not None:
        cards.append(card.describe())
    return cards


def folder(name: str) -> str:
    """Return a card's name as a folder's: nvidia-h100-80gb-hbm3."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
