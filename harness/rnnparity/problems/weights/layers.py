"""The recurrent layers in a mapping of names to tensors, of whichever library; choosing one."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rnnparity.cells.config import KINDS
from rnnparity.errors import UsageError
from rnnparity.problems.weights import other_libraries
from rnnparity.problems.weights.parametrised import Unresolved, resolved
from rnnparity.problems.weights.tensors import numbers
from rnnparity.problems.weights.torch_files import QUANTISED, is_quantised
from rnnparity.types import Array
from rnnparity.words import option

NAMES = {"rnn": "an RNN", "gru": "a GRU", "lstm": "an LSTM"}

# torch's parameters; `weight_hr`, an LSTM's projection, is known so that it can be refused by name.
PARAMETER = re.compile(r"(?:(?:weight|bias)_(?:ih|hh)|(weight_hr))_l(0|[1-9]\d*)(?:_reverse)?")
_OF_CELLS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")  # RNNCell, GRUCell, LSTMCell
NOT_GUESSED = "gates of other libraries, in other orders, are not guessed"
# What a checkpoint calls an optimizer's state, which may have the parameters' names and shapes.
_OPTIMIZERS = ("optim", "opt_state")
# Mappings in mappings are looked into so deep: a checkpoint's, a Flax model's.
_DEPTH = 12


class Layer(NamedTuple):
    """One layer's tensors as `library` ("torch", "Keras" or "Flax") names them, and where."""

    prefix: str
    library: str
    own: dict[str, Any]

    @property
    def kind(self) -> str | None:
        """What it is, "rnn", "gru" or "lstm"; None if its shapes are no kind's."""
        if self.library == "torch":
            return kind_of(self.own.get("weight_hh_l0"))
        find = other_libraries.keras_kind if self.library == "Keras" else other_libraries.flax_kind
        return find(self.own)

    def parameters(self, label: str) -> dict[str, Array]:
        """Return its parameters by torch's names, as arrays."""
        if self.library == "Keras":
            return other_libraries.from_keras(self.own, label)
        if self.library == "Flax":
            return other_libraries.from_flax(self.own, label)
        computed = {
            name: value.computed() if isinstance(value, Unresolved) else value
            for name, value in self.own.items()
        }
        return {name: numbers(name, value, label) for name, value in computed.items()}


def flat(tensors: Mapping[Any, Any], before: str = "", depth: int = 0) -> dict[str, Any]:
    """Flatten mappings in mappings, as checkpoints have them: `state_dict.rnn.weight_ih_l0`."""
    found: dict[str, Any] = {}
    for key, value in tensors.items():
        name = before + (".".join(map(str, key)) if isinstance(key, tuple) else str(key))
        inner: Any = value
        if isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
            inner = dict(enumerate(value))
        if isinstance(inner, Mapping) and depth < _DEPTH:
            found |= flat(inner, f"{name}.", depth + 1)
        else:
            found[name] = value
    return found


def kind_of(weight_hh: Any) -> str | None:
    """Return the kind of layer that a weight_hh `[G * H, H]` belongs to; None if to none."""
    if isinstance(weight_hh, list):
        weight_hh = numbers("weight_hh_l0", weight_hh, "the list")
    shape = tuple(getattr(weight_hh, "shape", ()))
    if len(shape) != 2 or 0 in shape:
        return None
    return next((k for k, kind in KINDS.items() if shape[0] == len(kind.gates) * shape[1]), None)


def choose(
    given: Mapping[Any, Any],
    prefix: str | None,
    kind: str | None,
    label: str,
    same: Callable[[Layer, Layer], bool] | None = None,
) -> Layer:
    """Pick one layer out of a model's.

    Args:
        given: names to tensors, and to further mappings.
        prefix: what its names begin with, or a part of that which no other layer has.
        kind: what it must be of, where there are several.
        label: what holds them, for messages.
        same: whether two layers are one under two names; of the same numbers if None.

    Raises:
        UsageError: there is none, or several.
    """
    tensors = resolved(flat(given), label)
    found = _layers(tensors)
    if not found:
        raise UsageError(_nothing(tensors, label))
    if prefix is not None:
        return _under(prefix, found, label)
    if len(found) == 1 and found[0].library == "torch" and not found[0].prefix:
        # A layer's own names: then what stands beside them is of it, too.
        beside = {n: v for n, v in tensors.items() if "." not in n and n not in _OF_CELLS}
        return _one_bias(found[0]._replace(own=beside | found[0].own), label)
    told = [layer for layer in found if layer.kind and kind in (None, layer.kind)]
    distinct: list[Layer] = []
    for layer in told:
        if not any((same or _equal)(layer, other) for other in distinct):
            distinct.append(layer)
    if len(distinct) == 1 or len(found) == 1:
        return _one_bias((distinct or found)[0], label)
    listed = ", ".join(layer.prefix.rstrip(".") or "(no prefix)" for layer in (distinct or found))
    kinds = [layer.kind for layer in found]
    single = [option("cell", one) for one in KINDS if kinds.count(one) == 1 and kind is None]
    also = f"; or {' or '.join(single)}" if single else ""
    none = f", none of them {NAMES[kind]}" if kind and not told else ""
    raise UsageError(
        f"{label} holds several recurrent layers{none}: "
        f"give {option('prefix')}, one of {listed}{also}"
    )


def _layers(tensors: dict[str, Any]) -> list[Layer]:
    """Return every layer that the names tell of; an optimizer's only if there is nothing else."""
    of_torch: dict[str, dict[str, Any]] = {}
    for name, value in tensors.items():
        before, dot, last = name.replace("/", ".").rpartition(".")
        if PARAMETER.fullmatch(last):
            of_torch.setdefault(before + dot, {})[last] = value
        elif last in _OF_CELLS:
            of_torch.setdefault(before + dot, {})[f"{last}_l0"] = value
        elif last == "bias" and before + dot + "weight_hh" in tensors:
            of_torch.setdefault(before + dot, {})[last] = value
    found = [Layer(prefix, "torch", own) for prefix, own in of_torch.items()]
    keras, flax = other_libraries.keras_layers(tensors), other_libraries.flax_layers(tensors)
    found += [Layer(prefix, "Keras", own) for prefix, own in keras.items()]
    found += [Layer(prefix, "Flax", own) for prefix, own in flax.items()]
    return [layer for layer in found if not layer.prefix.startswith(_OPTIMIZERS)] or found


def _under(prefix: str, found: list[Layer], label: str) -> Layer:
    """Return the layer of a prefix, or of a part ("rnn" of "module.rnn") that is of one only."""
    wanted = prefix.replace("/", ".").strip(".")
    none = bool(prefix) and not wanted  # dots and slashes alone name nothing
    exact = [layer for layer in found if layer.prefix.rstrip(".") == wanted and not none]
    part = [layer for layer in found if wanted and f".{wanted}." in f".{layer.prefix}"]
    if len(exact or part) == 1:
        return _one_bias((exact or part)[0], label)
    there = ", ".join(layer.prefix.rstrip(".") or "(no prefix)" for layer in (part or found))
    if part:
        raise UsageError(
            f"{label} has several RNNs under the prefix {prefix!r}: give one of {there}"
        )
    raise UsageError(f"{label} has no RNN under the prefix {prefix!r}: there is {there}")


def _one_bias(layer: Layer, label: str) -> Layer:
    """Read a cell's one `bias` as bias_ih, where there are no gates whose order it could have."""
    own = dict(layer.own)
    if layer.library != "torch" or "bias" not in own or own.keys() & {"bias_ih_l0", "bias_hh_l0"}:
        return layer
    if layer.kind != "rnn":
        raise UsageError(
            f"{label} has one bias, named bias: if its gates are in torch's order, name it "
            f"bias_ih_l0 and give zeros as bias_hh_l0; {NOT_GUESSED}"
        )
    bias = numbers("bias", own.pop("bias"), label)
    return layer._replace(own=own | {"bias_ih_l0": bias, "bias_hh_l0": bias * 0})


def _equal(one: Layer, other: Layer) -> bool:
    """Whether two layers have the same numbers: one layer under two names."""
    if one.own.keys() != other.own.keys() or one.library != other.library:
        return False
    try:
        a, b = one.parameters(""), other.parameters("")
    except UsageError:
        return False
    return all(a[name].tobytes() == b[name].tobytes() for name in a)


def _nothing(tensors: dict[str, Any], label: str) -> str:
    names = sorted(tensors)
    if is_quantised(names):
        return f"{label} {QUANTISED}"
    return (
        f"{label} has no parameters of a torch.nn.RNN, GRU or LSTM (weight_ih_l0, ...), nor of "
        f"Keras or Flax, but {some(names)}; {NOT_GUESSED}"
    )


def some(names: list[str]) -> str:
    """Return a list of names, the first three of many."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
