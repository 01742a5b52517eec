"""A module of PyTorch's or of another library: the names of its parameters, and what to write.

Nothing here imports a framework: of what is handed over, its own is there already.
"""

import re
import sys
from typing import Any

from rnnparity.cells.config import NONLINEARITIES

_LAYER = re.compile(r"(.*?)((?:weight|bias)_(?:ih|hh)_l\d+(?:_reverse)?)")
_CELL = re.compile(r"(.*?)((?:weight|bias)_(?:ih|hh))")

# What stands in modules of other libraries: the function that calls one with given weights.
_LINES = {
    "flax.nnx": "nnx.merge(graph, mine(weights))(x, initial_carry=h0)",
    "flax": "module.apply({'params': mine(weights)}, x, initial_carry=h0)",
    "keras": "module.stateless_call(mine(weights), [], x)[0]",
    "equinox": "eqx.tree_at(where, module, mine(weights))(x, h0)",
    "haiku": "module.apply(mine(weights), x, h0)",
}
PAGE = "docs/contract.md, Modules"


class NoTorchNames(Exception):
    """A module's parameters have not torch's names; the message is the line to write."""


def is_module(given: Any) -> bool:
    """Whether this is a `torch.nn.Module`, or a class of them."""
    nn = getattr(sys.modules.get("torch"), "nn", None)  # it may be on its way, in another thread
    module = getattr(nn, "Module", None)
    if module is None:
        return False
    return isinstance(given, module) or (isinstance(given, type) and issubclass(given, module))


def whose(given: Any) -> Any:
    """Return the module that a bound `forward` or `__call__` is of; else what is given."""
    owner = getattr(given, "__self__", None)
    bound = getattr(given, "__name__", "") in ("forward", "__call__")
    return owner if bound and is_module(owner) else given


def line_for(given: Any) -> str:
    """Return what to write for a module of another library; "" if it is of none that is known."""
    kinds = (given if isinstance(given, type) else type(given)).__mro__
    homes = [f"{kind.__module__}." for kind in kinds]
    for library, call in _LINES.items():
        if any(home.startswith(f"{library}.") for home in homes):
            whose = library.partition(".")[0].capitalize()
            return (
                f"is a module of {whose}, whose parameters have other names: write "
                f"def rnn(x, h0, weights, config, lengths): return {call}, where mine makes its "
                f"parameters of torch's ({PAGE})"
            )
    return ""


def layout(given: Any) -> dict[str, Any]:
    """Return what a module tells that weights do not: its nonlinearity, and batch_first."""
    if not is_module(given) or isinstance(given, type):
        return {}
    holders = [given, *(m for m in given.modules() if isinstance(m, torch_itself().nn.RNNBase))]
    told: dict[str, Any] = {}
    for name, known in (("nonlinearity", NONLINEARITIES), ("batch_first", (True, False))):
        values = [value for m in holders if (value := getattr(m, name, None)) in known]
        if values and values.count(values[0]) == len(values):
            told[name] = values[0]
    return told


def torch_itself() -> Any:
    """Return PyTorch, which a module of its was made with."""
    return sys.modules["torch"]


def names_of(label: str, module: Any) -> dict[str, str]:
    """Return a module's own names of parameters by those of one `nn.RNN`.

    Raises:
        NoTorchNames: there are no such names, or those of several layers that are not numbered.
    """
    own = [name for name, _ in module.named_parameters()]
    groups: dict[str, dict[str, str]] = {}
    for name in own:
        found = _LAYER.fullmatch(name)
        if found:
            groups.setdefault(found[1], {})[found[2]] = name
    if len(groups) == 1:
        return next(iter(groups.values()))
    if not groups:
        cells: dict[str, dict[str, str]] = {}
        for name in own:
            found = _CELL.fullmatch(name)
            if found:
                cells.setdefault(found[1], {})[found[2]] = name
        if cells:
            return {
                f"{name}_l{layer}": real
                for layer, group in enumerate(cells.values())
                for name, real in group.items()
            }
    raise NoTorchNames(line_of(label, own, len(groups)))


def line_of(label: str, names: list[str], layers: int) -> str:
    """Return what to write for a module whose parameters have other names."""
    expected = "torch.nn.RNN's (weight_ih_l0, ...)"
    why = f"parameters with other names than {expected}"
    if layers:
        why = f"{layers} layers with names like {expected}, which are not numbered as one module's"
    some = ", ".join(f'"{name}": ...' for name in names[:4]) + (", ..." if names[4:] else "")
    return (
        f"{label} has {why}: write "
        "def rnn(x, h0, weights, config, lengths): return torch.func.functional_call("
        f"module, {{{some}}}, (x,) if h0 is None else (x, h0)), each made of weights ({PAGE})"
    )


def shapes_of(module: Any, names: dict[str, str]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a module's parameters by torch's names, as `names_of` returned them."""
    there = dict(module.named_parameters())
    return {name: tuple(there[own].shape) for name, own in names.items()}
