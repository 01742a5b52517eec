"""Files that `torch.save` wrote, loaded with `weights_only=True`; what stops that is named.

Nothing stored in a file is executed: its pickle is at most listed, opcode by opcode.
"""

import pickletools
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnnparity.errors import UsageError

# Where training scripts put the state dict in a checkpoint.
_STATES = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module")
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
    names, pickled = _zipped(path)
    if any("/code/" in name or name.endswith("constants.pkl") for name in names):
        raise UsageError(
            f"{path} is a TorchScript module, expected a state dict: "
            f"torch.save(torch.jit.load({str(path)!r}).state_dict(), 'weights.pt'), then that file"
        )
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # no common base; and torch's texts go on to suggest unsafe ways
        raise UsageError(_refusal(path, str(error), pickled)) from None
    if not isinstance(loaded, Mapping):
        raise UsageError(
            f"{path} holds a {type(loaded).__name__}, expected a state dict: "
            "torch.save(module.state_dict(), file)"
        )
    return loaded


def _zipped(path: Path) -> tuple[list[str], bytes]:
    """Return what is in a file's archive, and its pickle's bytes; nothing if there is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            return names, archive.read(next(n for n in names if n.endswith("data.pkl")))
    except Exception:  # not zipped, or damaged: torch says which
        return [], b""


def _refusal(path: Path, told: str, pickled: bytes) -> str:
    """Return the line about a file that a safe load refuses."""
    named = _GLOBAL.search(told)
    if named is None:
        return (
            f"{path} is no file of tensors that torch.save wrote, or is damaged: "
            "save module.state_dict() with torch.save, or as .safetensors"
        )
    name, loaded = named[1], f"torch.load({str(path)!r}, weights_only=False)"
    strings, is_mapping = _listed(pickled)
    if not is_mapping:
        held, state = f"is a whole {name}, expected a state dict", f"{loaded}.state_dict()"
    else:
        key = next((one for one in _STATES if one in strings), "")
        held = f"has {name} beside its tensors"
        state = loaded + (f"[{key!r}]" if key else "")
    return (
        f"{path} {held}: other objects are not loaded (weights_only=True); save module.state_dict()"
        f" alone, or, if you trust the file: torch.save({state}, 'weights.pt')"
    )


def _listed(pickled: bytes) -> tuple[set[str], bool]:
    """Return the texts in a pickle, and whether it is a dictionary (so where it is not told)."""
    strings: set[str] = set()
    first = None
    try:
        for opcode, argument, _ in pickletools.genops(pickled):
            if first is None and opcode.name not in ("PROTO", "FRAME", "MARK", "MEMOIZE"):
                first = (opcode.name, argument)
            if opcode.name.endswith("UNICODE"):
                strings.add(str(argument))
    except Exception:  # damaged further on
        pass
    return strings, first in (None, ("EMPTY_DICT", None), ("GLOBAL", "collections OrderedDict"))
