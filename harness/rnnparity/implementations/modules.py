"""An implementation made of a module of PyTorch's, and the line to write for other modules.

A module whose parameters have torch's names, of `nn.RNN` or of `nn.RNNCell`, is called with a
case's weights in place of its own. One that is built for other sizes than a case's is built anew
from its class, if that takes the sizes.
"""

import copy
import functools
import inspect
import re
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

from rnnparity.cells.config import KINDS, NONLINEARITIES, RNNConfig, parameter_shapes
from rnnparity.errors import ContractViolation
from rnnparity.implementations.support import Unsupported

_LAYER = re.compile(r"(.*?)((?:weight|bias)_(?:ih|hh)_l\d+(?:_reverse)?)")
_CELL = re.compile(r"(.*?)((?:weight|bias)_(?:ih|hh))")

# What a class may take besides the sizes, and what it then is if it does not.
_OPTIONS = {
    "num_layers": 1,
    "nonlinearity": "tanh",
    "bias": True,
    "batch_first": False,
    "bidirectional": False,
}

# What stands in modules of other libraries: the function that calls one with given weights.
_LINES = {
    "flax": "module.apply({{'params': mine(weights)}}, x)",
    "keras": "module.stateless_call(mine(weights), [], x)[0]",
    "equinox": "eqx.tree_at(where, module, mine(weights))(x)",
    "haiku": "module.apply(mine(weights), x)",
}
_PAGE = "docs/contract.md, Modules"


class NoTorchNames(Exception):
    """A module's parameters have not torch's names; the message is the line to write."""


def is_module(given: Any) -> bool:
    """Whether this is a `torch.nn.Module`, or a class of them."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    return isinstance(given, torch.nn.Module) or (
        isinstance(given, type) and issubclass(given, torch.nn.Module)
    )


def whose(given: Any) -> Any:
    """Return the module that a bound `forward` or `__call__` is of; else what is given."""
    owner = getattr(given, "__self__", None)
    bound = getattr(given, "__name__", "") in ("forward", "__call__")
    return owner if bound and is_module(owner) else given


def line_for(given: Any) -> str:
    """Return what to write for a module of another library; "" if it is of none that is known."""
    kinds = (given if isinstance(given, type) else type(given)).__mro__
    roots = {kind.__module__.partition(".")[0] for kind in kinds}
    for library, call in _LINES.items():
        if library in roots:
            return (
                f"is a module of {library.capitalize()}, whose parameters have other names: write "
                f"def rnn(x, h0, weights, config, lengths): return {call.format()}, where mine "
                f"makes its parameters of torch's ({_PAGE})"
            )
    return ""


def adapted(given: Any, beside: Any = None) -> Any:
    """Return an object with the names of the contract that runs a module.

    Args:
        given: a `torch.nn.Module`, or a class of them.
        beside: has what else is declared: dtypes, supports, ...

    Raises:
        NoTorchNames: its parameters are others.
    """
    module = _Module(given)
    told = {
        name: getattr(beside, name)
        for name in ("dtypes", "nonlinearities", "devices", "supports", "gradients")
        if hasattr(beside, name)
    }
    return SimpleNamespace(**{"framework": "torch", "kind": module.kind, "rnn": module} | told)


def among(file: ModuleType) -> Any:
    """Return the module of PyTorch's that a Python module is about; None if there is none.

    An object comes before classes; of classes those that the file defines, the last one with
    torch's names first, since it may be made of the others.

    Raises:
        NoTorchNames: there are some, none of them with torch's names.
    """
    found = [value for value in vars(file).values() if is_module(value)]
    objects = [value for value in found if not isinstance(value, type)]
    classes = [
        value for value in found if value not in objects and value.__module__ == file.__name__
    ]
    reason: NoTorchNames | None = None
    for one in (*reversed(objects), *reversed(classes)):
        try:
            _Module(one)
        except NoTorchNames as error:
            reason = reason or error
        else:
            return one
    if reason is not None:
        raise reason
    return None


def layout(given: Any) -> dict[str, Any]:
    """Return what a module tells that weights do not: its nonlinearity, and batch_first."""
    if not is_module(given) or isinstance(given, type):
        return {}
    holders = [given, *(m for m in given.modules() if isinstance(m, _torch().nn.RNNBase))]
    told: dict[str, Any] = {}
    for name, known in (("nonlinearity", NONLINEARITIES), ("batch_first", (True, False))):
        values = [value for m in holders if (value := getattr(m, name, None)) in known]
        if values and values.count(values[0]) == len(values):
            told[name] = values[0]
    return told


class _Module:
    """A module, or a class of them, called as a whole `rnn`."""

    def __init__(self, given: Any) -> None:
        """Look at the names of its parameters.

        Raises:
            NoTorchNames: they are others.
        """
        is_class = isinstance(given, type)
        self._given = None if is_class else given
        self._class = given if is_class else type(given)
        self._name = self._class.__name__
        example = _built_small(given) if is_class else given
        self._names = _names(self._name, example)
        shapes = _shapes(example, self._names)
        rows, H = shapes["weight_hh_l0"]
        kinds = [kind for kind, of in KINDS.items() if len(of.gates) * H == rows]
        if not kinds:
            raise NoTorchNames(f"{self._name}: weight_hh is {(rows, H)}, of no RNN, GRU or LSTM")
        self.kind = kinds[0]
        self._last: tuple[RNNConfig, Any] | None = None

    def __call__(self, x: Any, h0: Any, weights: Any, config: RNNConfig, lengths: Any) -> Any:
        """Call the module with these weights: arguments and results as `torch.nn.RNN`'s."""
        module = self._for(config, x)
        of_torch = _names(self._name, module)
        given = {own: weights[name] for name, own in of_torch.items()}
        torch = _torch()
        cells = (torch.nn.RNNCell, torch.nn.GRUCell, torch.nn.LSTMCell)
        if isinstance(module, cells):
            run: Callable[..., Any] = functools.partial(_stepped, config, lengths)
        elif lengths is None:
            run = _whole(module)
        elif type(module) in (torch.nn.RNN, torch.nn.GRU, torch.nn.LSTM):
            run = functools.partial(_packed, lengths)
        else:
            raise Unsupported(f"{self._name} takes no lengths")
        if h0 is not None and not isinstance(module, cells) and not _takes_state(module):
            raise Unsupported(f"{self._name}.forward takes no h0")
        arguments = (x,) if h0 is None else (x, h0)
        result = run(functools.partial(torch.func.functional_call, module, given), *arguments)
        if not isinstance(result, tuple | list) or len(result) != 2:
            told = f"a tuple of {len(result)}" if isinstance(result, tuple | list) else "no pair"
            raise ContractViolation(
                f"{self._name} returned {told}, expected (output, h_n): hand over the recurrent "
                "layer in it (model.rnn), or write rnn (" + _PAGE + ")"
            )
        return result

    def _for(self, config: RNNConfig, x: Any) -> Any:
        """Return the module itself where it fits a configuration, else one of its class."""
        if self._last is None or self._last[0] != config:
            self._last = (config, self._made(config, x))
        module = self._last[1]
        module.to(device=x.device)
        return module

    def _made(self, config: RNNConfig, x: Any) -> Any:
        shapes = parameter_shapes(config)
        if self._given is not None and _shapes(self._given, self._names) == shapes:
            self._check_is(self._given, config)
            try:
                return copy.deepcopy(self._given).eval()
            except Exception:  # what cannot be copied is called itself
                return self._given
        module = _built(self._class, config).to(device=x.device, dtype=x.dtype).eval()
        if _shapes(module, _names(self._name, module)) != shapes:
            raise Unsupported(f"{self._name} cannot be built for other sizes")
        self._check_is(module, config)
        return module

    def _check_is(self, module: Any, config: RNNConfig) -> None:
        for name, value in layout(module).items():
            if getattr(config, name) != value and (config.kind == "rnn" or name == "batch_first"):
                raise Unsupported(f"{self._name} has {name} = {value!r}")


def _torch() -> Any:
    return sys.modules["torch"]


def _whole(module: Any) -> Callable[..., Any]:
    return lambda call, *arguments: call(arguments)


def _packed(lengths: Any, call: Callable[..., Any], x: Any, *states: Any) -> Any:
    """Call a layer of torch's own on sequences of unequal length."""
    rnn = _torch().nn.utils.rnn
    first = call.args[0].batch_first  # type: ignore[attr-defined]
    packed = rnn.pack_padded_sequence(x, lengths.cpu(), batch_first=first, enforce_sorted=False)
    output, last = call((packed, *states))
    T = x.shape[1 if first else 0]
    return rnn.pad_packed_sequence(output, batch_first=first, total_length=T)[0], last


def _stepped(config: RNNConfig, lengths: Any, call: Callable[..., Any], x: Any, *given: Any) -> Any:
    """Call a cell of torch's own step by step."""
    if lengths is not None or config.batch_first or config.num_cells > 1:
        raise Unsupported("a cell alone is one layer in one direction, without lengths")
    lstm = config.kind == "lstm"
    states: Any = None
    if given:
        states = tuple(s[0] for s in given[0]) if lstm else given[0][0]
    output = []
    for x_t in x:
        states = call((x_t,) if states is None else (x_t, states))
        output.append(states[0] if lstm else states)
    last = tuple(s[None] for s in states) if lstm else states[None]
    return _torch().stack(output), last


def _takes_state(module: Any) -> bool:
    try:
        inspect.signature(module.forward).bind(None, None)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _names(label: str, module: Any) -> dict[str, str]:
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
    raise NoTorchNames(_line(label, own, len(groups)))


def _line(label: str, names: list[str], layers: int) -> str:
    """Return what to write for a module whose parameters have other names."""
    why = f"{layers} layers with torch's names" if layers else "parameters with other names"
    some = ", ".join(f'"{name}": ...' for name in names[:4]) + (", ..." if names[4:] else "")
    return (
        f"{label} has {why} than torch.nn.RNN's (weight_ih_l0, ...): write "
        "def rnn(x, h0, weights, config, lengths): return torch.func.functional_call("
        f"module, {{{some}}}, (x,) if h0 is None else (x, h0)), each made of weights ({_PAGE})"
    )


def _shapes(module: Any, names: dict[str, str]) -> dict[str, tuple[int, ...]]:
    there = dict(module.named_parameters())
    return {name: tuple(there[own].shape) for name, own in names.items()}


def _built_small(given: Any) -> Any:
    """Build a class for one layer, to see what its parameters are called."""
    try:
        return _built(given, RNNConfig(input_size=3, hidden_size=4))
    except Unsupported as error:
        raise NoTorchNames(str(error)) from None


def _built(given: Any, config: RNNConfig) -> Any:
    """Build a class for a configuration.

    Raises:
        Unsupported: it takes other arguments, or not what is needed.
    """
    try:
        parameters = inspect.signature(given).parameters
    except (TypeError, ValueError):
        parameters = {}
    anything = any(p.kind == p.VAR_KEYWORD for p in parameters.values())
    options = {}
    for name, default in _OPTIONS.items():
        value = getattr(config, name)
        if name in parameters or (anything and value != default):
            options[name] = value
        elif value != default:
            raise Unsupported(f"{given.__name__} takes no {name}")
    sizes = {"input_size": config.input_size, "hidden_size": config.hidden_size}
    try:
        if sizes.keys() <= parameters.keys():
            return given(**sizes, **options)
        return given(*sizes.values(), **options)
    except Exception as error:
        raise Unsupported(
            f"{given.__name__} cannot be built as {given.__name__}(input_size, hidden_size), "
            f"{type(error).__name__}: check it on its own weights (--weights)"
        ) from None
