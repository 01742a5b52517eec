"""Files that `torch.save` wrote, loaded with `weights_only=True`; what stops that is named.

Nothing stored in a file is executed: its pickle is at most listed, opcode by opcode.
"""

import io
import pickletools
import re
import zipfile
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rnnparity.errors import UsageError

# Where training scripts put the state dict in a checkpoint.
_STATES = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module")
# What is said of layers of torch's whose weights cannot be had any more.
QUANTISED = (
    "has quantised layers, whose weights are packed integers: give the model before "
    "torch.quantization.quantize_dynamic, or its state dict"
)
# Opcodes that neither make nor end a value.
_SILENT = ("PROTO", "FRAME", "MARK", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT")
_GLOBAL = re.compile(r"GLOBAL ([\w.]+) (?:was not an allowed|whose module)")


def read(path: Path) -> Mapping[str, Any]:
    """Return the tensors in a file that `torch.save` wrote.

    Raises:
        UsageError: it is damaged, or has something that a safe load refuses, which is named.
    """
    try:
        import torch
    except ModuleNotFoundError:
        raise UsageError(
            f"reading {path} needs torch: pip install 'rnnparity[torch]', or save as .safetensors"
        ) from None
    names = _names(path)
    if any("/code/" in name or name.endswith("constants.pkl") for name in names):
        raise UsageError(
            f"{path} is a TorchScript module, expected a state dict: "
            f"torch.save(torch.jit.load({str(path)!r}).state_dict(), 'weights.pt'), then that file"
        )
    try:
        with path.open("rb") as file:  # a path would be judged by its ending
            loaded: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # no common base; and torch's texts go on to suggest unsafe ways
        raise UsageError(_refusal(path, str(error))) from None
    if not isinstance(loaded, Mapping):
        raise UsageError(
            f"{path} holds a {type(loaded).__name__}, expected a state dict: "
            "torch.save(module.state_dict(), file)"
        )
    return loaded


def is_quantised(names: Iterable[str]) -> bool:
    """Whether names are among them that torch gives to weights that it packed."""
    return any("_all_weight_values" in name or "_packed_" in name for name in names)


def _names(path: Path) -> list[str]:
    """Return what is in a file's archive; nothing if it is none, or is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except Exception:  # zipfile's errors have no common base
        return []


def _refusal(path: Path, told: str) -> str:
    """Return the line about a file that a safe load refuses."""
    named = _GLOBAL.search(told)
    if named is None:
        return (
            f"{path} is no file of tensors that torch.save wrote, or is damaged: save "
            "module.state_dict() with torch.save, or arrays by name with numpy.savez"
        )
    try:
        whole, values = _listed(path)
    except Exception:  # damaged further on; or of a form that is not known
        whole, values = False, {}
    if is_quantised(values):
        return f"{path} {QUANTISED}"
    loaded = f"torch.load({str(path)!r}, weights_only=False)"
    held = f"has {named[1]} beside its tensors"
    if whole:
        held, loaded = f"is a whole {named[1]}, expected a state dict", f"{loaded}.state_dict()"
    elif key := next((one for one in _STATES if one in values), None):
        loaded += f"[{key!r}]" + (".state_dict()" if values[key] else "")
    return (
        f"{path} {held}: other objects are not loaded (weights_only=True); save module.state_dict()"
        f" alone, or, if you trust the file: torch.save({loaded}, 'weights.pt')"
    )


def _listed(path: Path) -> tuple[bool, dict[str, bool]]:
    """List a pickle's opcodes, unexecuted.

    Returns:
        Whether it is an object other than a dictionary; and for each text in it, whether the value
        that follows is one.
    """
    if names := _names(path):
        with zipfile.ZipFile(path) as archive:
            stream = io.BytesIO(archive.read(next(n for n in names if n.endswith("data.pkl"))))
    else:  # as torch.save wrote before zip files: a magic number, a version and sizes come first
        stream = io.BytesIO(path.read_bytes())
        for _ in range(3):
            deque(pickletools.genops(stream), maxlen=0)
    values: dict[str, bool] = {}
    before: str | None = ""
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in _SILENT:
            continue
        if before is not None:
            is_object = opcode.name == "GLOBAL" and argument != "collections OrderedDict"
            is_object |= argument == "module"  # what a module begins with, before zip files
            values.setdefault(before, is_object)
        before = str(argument) if opcode.name.endswith("UNICODE") else None
    return values.pop("", False), values
