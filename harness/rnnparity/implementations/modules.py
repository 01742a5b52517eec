"""An implementation made of a module of PyTorch's.

A module whose parameters have torch's names, of `nn.RNN` or of `nn.RNNCell`, is called with a
case's weights in place of its own. One that is built for other sizes than a case's is built anew
from its class, if that takes the sizes.
"""

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import ModuleType, SimpleNamespace
from typing import Any

from rnnparity.cells.config import KINDS, RNNConfig, parameter_shapes
from rnnparity.errors import ContractViolation
from rnnparity.implementations.module_names import (
    PAGE,
    NoTorchNames,
    is_module,
    layout,
    line_of,
    names_of,
    shapes_of,
    torch_itself,
)
from rnnparity.implementations.support import Unsupported
from rnnparity.words import option

# What a class may take besides the sizes, and what it then is if it does not.
_OPTIONS = {
    "num_layers": 1,
    "nonlinearity": "tanh",
    "bias": True,
    "batch_first": False,
    "bidirectional": False,
}


def adapted(given: Any, beside: Any = None, *, anew: bool = True) -> Any:
    """Return an object with the names of the contract that runs a module.

    Args:
        given: a `torch.nn.Module`, or a class of them.
        beside: has what else is declared: dtypes, supports, ...
        anew: whether a module is built anew from its class for what it does not fit.

    Raises:
        NoTorchNames: its parameters are others.
    """
    module = _Module(given, anew)
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


class _Module:
    """A module, or a class of them, called as a whole `rnn`."""

    def __init__(self, given: Any, anew: bool = True) -> None:
        """Look at the names of its parameters.

        Raises:
            NoTorchNames: they are others.
        """
        is_class = isinstance(given, type)
        if not is_class and isinstance(given, _parallel()):
            given = given.module
        self._anew = anew or is_class
        self._given = None if is_class else given
        self._class = given if is_class else type(given)
        self._name = self._class.__name__
        example = _built_small(given) if is_class else given
        self._names = names_of(self._name, example)
        shapes = shapes_of(example, self._names)
        if not {"weight_ih_l0", "weight_hh_l0"} <= shapes.keys():
            raise NoTorchNames(line_of(self._name, [n for n, _ in example.named_parameters()], 0))
        rows, H = shapes["weight_hh_l0"]
        kinds = [kind for kind, of in KINDS.items() if len(of.gates) * H == rows]
        if not kinds:
            raise NoTorchNames(f"{self._name}: weight_hh is {(rows, H)}, of no RNN, GRU or LSTM")
        self.kind = kinds[0]
        self._last: tuple[RNNConfig, Any] | None = None

    def __call__(self, x: Any, h0: Any, weights: Any, config: RNNConfig, lengths: Any) -> Any:
        """Call the module with these weights: arguments and results as `torch.nn.RNN`'s."""
        module = self._for(config, x)
        of_torch = names_of(self._name, module)
        given = {own: weights[name] for name, own in of_torch.items()}
        torch = torch_itself()
        cells = (torch.nn.RNNCell, torch.nn.GRUCell, torch.nn.LSTMCell)
        if isinstance(module, cells):
            run: Callable[..., Any] = functools.partial(_stepped, config, lengths)
        elif lengths is None:
            run = _whole(module)
        elif type(module) in (torch.nn.RNN, torch.nn.GRU, torch.nn.LSTM):
            run = functools.partial(_packed, lengths, module.batch_first)
        else:
            raise Unsupported(f"{self._name} takes no lengths")
        if h0 is not None and not isinstance(module, cells) and not _takes_state(module):
            raise Unsupported(f"{self._name}.forward takes no h0")
        arguments = (x,) if h0 is None else (x, h0)
        if isinstance(module, torch.jit.ScriptModule):
            call = functools.partial(_loaded_into, module, given)
        else:
            call = functools.partial(torch.func.functional_call, module, given)
        result = run(call, *arguments)
        if not isinstance(result, tuple | list) or len(result) != 2:
            told = f"a tuple of {len(result)}" if isinstance(result, tuple | list) else "no pair"
            raise ContractViolation(
                f"{self._name} returned {told}, expected (output, h_n): hand over the recurrent "
                "layer in it (model.rnn), or write rnn (" + PAGE + ")"
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
        if self._given is not None and shapes_of(self._given, self._names) == shapes:
            self._check_is(self._given, config)
            try:
                return copy.deepcopy(self._given).eval()
            except Exception:  # what cannot be copied is called itself
                return self._given
        if not self._anew:
            own = shapes_of(self._given, self._names)
            other = next(n for n in {**own, **shapes} if own.get(n) != shapes.get(n))
            sizes = f"{own.get(other)}, the weights {shapes.get(other)}"
            raise Unsupported(f"{self._name} has {other} of shape {sizes}")
        module = _built(self._class, config).to(device=x.device, dtype=x.dtype).eval()
        if shapes_of(module, names_of(self._name, module)) != shapes:
            raise Unsupported(f"{self._name} cannot be built for other sizes")
        self._check_is(module, config)
        return module

    def _check_is(self, module: Any, config: RNNConfig) -> None:
        for name, value in layout(module).items():
            if getattr(config, name) != value and (config.kind == "rnn" or name == "batch_first"):
                raise Unsupported(f"{self._name} has {name} = {value!r}")


def _parallel() -> tuple[Any, ...]:
    nn = torch_itself().nn
    return (nn.DataParallel, nn.parallel.DistributedDataParallel)


def _loaded_into(module: Any, weights: dict[str, Any], arguments: tuple[Any, ...]) -> Any:
    """Call a scripted module, which cannot be given weights but keeps its own, with others."""
    if any(value.requires_grad for value in weights.values()):
        raise Unsupported("a scripted module keeps its own weights")
    module.load_state_dict(weights, strict=False)
    return module(*arguments)


def _whole(module: Any) -> Callable[..., Any]:
    return lambda call, *arguments: call(arguments)


def _packed(lengths: Any, first: bool, call: Callable[..., Any], x: Any, *states: Any) -> Any:
    """Call a layer of torch's own, batch-first or not, on sequences of unequal length."""
    rnn = torch_itself().nn.utils.rnn
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
    return torch_itself().stack(output), last


def _takes_state(module: Any) -> bool:
    try:
        inspect.signature(module.forward).bind(None, None)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


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
    parameters: Mapping[str, inspect.Parameter] = {}
    with suppress(TypeError, ValueError):
        parameters = inspect.signature(given).parameters
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
            f"{type(error).__name__}: check it on its own weights ({option('weights')})"
        ) from None
