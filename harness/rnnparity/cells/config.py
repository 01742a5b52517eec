"""The arguments of `torch.nn.RNN`, and the names and shapes of the parameters they imply."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from array_api_compat import array_namespace

from rnnparity.errors import UsageError

NONLINEARITIES = ("tanh", "relu")


class Kind(NamedTuple):
    """What differs between kinds of recurrent layers besides the step itself.

    `gates` is G: a parameter of a layer has G * H rows. `states` are what goes from step to step,
    the first of which is the output.
    """

    gates: tuple[str, ...]  # in the order of torch's rows
    states: tuple[str, ...]


KINDS = {
    "rnn": Kind(("h",), ("h",)),
    "gru": Kind(("r", "z", "n"), ("h",)),
    "lstm": Kind(("i", "f", "g", "o"), ("h", "c")),
}


class RNNConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `torch.nn.RNN`, `GRU` or `LSTM` is constructed with, by the same names and defaults.

    `kind` is "rnn", "gru" or "lstm"; `nonlinearity` is a plain RNN's only.

    `dropout` is inert: everything here runs in evaluation mode, where `torch.nn.RNN` drops nothing.
    """

    input_size: int
    hidden_size: int
    num_layers: int = 1
    nonlinearity: str = "tanh"
    bias: bool = True
    batch_first: bool = False
    dropout: float = 0.0
    bidirectional: bool = False
    kind: str = "rnn"

    def __post_init__(self) -> None:
        """Refuse what `torch.nn.RNN` refuses.

        Raises:
            UsageError: a size below 1, an unknown nonlinearity, or a dropout outside [0, 1].
        """
        for name in ("input_size", "hidden_size", "num_layers"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if self.kind not in KINDS:
            raise UsageError(f"kind is {self.kind!r}, expected one of {', '.join(KINDS)}")
        if self.nonlinearity not in NONLINEARITIES:
            raise UsageError(f"nonlinearity is {self.nonlinearity!r}, expected tanh or relu")
        if self.kind != "rnn" and self.nonlinearity != "tanh":
            raise UsageError(f"a {self.kind.upper()} has no choice of a nonlinearity")
        if not 0 <= self.dropout <= 1:
            raise UsageError(f"dropout is {self.dropout}, expected a probability from 0 to 1")

    def time_major(self) -> "RNNConfig":
        """Return the same with the time dimension first."""
        return msgspec.structs.replace(self, batch_first=False)

    @property
    def num_gates(self) -> int:
        """Rows of a parameter for each hidden unit: 1, a GRU's 3, an LSTM's 4."""
        return len(KINDS[self.kind].gates)

    @property
    def states(self) -> tuple[str, ...]:
        """What goes from step to step: ("h",), or an LSTM's ("h", "c")."""
        return KINDS[self.kind].states

    @property
    def num_directions(self) -> int:
        """2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def num_cells(self) -> int:
        """Layers times directions: the first dimension of h0 and h_n."""
        return self.num_layers * self.num_directions


class Cell(NamedTuple):
    """The parameters of one layer in one direction, as an implementation's `layer` takes them."""

    weight_ih: Any  # [G * H, I], G = 1 for a plain RNN, 3 for a GRU, 4 for an LSTM
    weight_hh: Any  # [G * H, H]
    bias_ih: Any  # [G * H]
    bias_hh: Any  # [G * H]


def suffixes(config: RNNConfig) -> Iterator[str]:
    """Yield `l0`, `l0_reverse`, `l1`, ...: the parameter suffixes in the order of h0's rows."""
    for k in range(config.num_layers):
        yield f"l{k}"
        if config.bidirectional:
            yield f"l{k}_reverse"


def parameter_shapes(config: RNNConfig) -> dict[str, tuple[int, ...]]:
    """Return every parameter's name and shape, in the order of `torch.nn.RNN.state_dict()`."""
    H, rows = config.hidden_size, config.num_gates * config.hidden_size
    shapes: dict[str, tuple[int, ...]] = {}
    for suffix in suffixes(config):
        first = suffix in ("l0", "l0_reverse")
        shapes[f"weight_ih_{suffix}"] = (
            rows,
            config.input_size if first else config.num_directions * H,
        )
        shapes[f"weight_hh_{suffix}"] = (rows, H)
        if config.bias:
            shapes[f"bias_ih_{suffix}"] = shapes[f"bias_hh_{suffix}"] = (rows,)
    return shapes


def cells(weights: Mapping[str, Any], config: RNNConfig) -> list[Cell]:
    """Group parameters into cells, in the order of h0's rows; absent biases become zeros."""
    grouped = []
    for suffix in suffixes(config):
        weight_hh = weights[f"weight_hh_{suffix}"]
        zeros = None if config.bias else array_namespace(weight_hh).zeros_like(weight_hh[:, 0])
        grouped.append(
            Cell(
                weights[f"weight_ih_{suffix}"],
                weight_hh,
                weights[f"bias_ih_{suffix}"] if config.bias else zeros,
                weights[f"bias_hh_{suffix}"] if config.bias else zeros,
            )
        )
    return grouped


def named_gradients(grad_cells: Sequence[Any], config: RNNConfig) -> dict[str, Any]:
    """Name the gradients of cells: `grad_weight_ih_l0`, ..."""
    return {
        f"grad_{name}_{suffix}": gradient
        for suffix, of_cell in zip(suffixes(config), grad_cells, strict=True)
        for name, gradient in zip(Cell._fields, of_cell, strict=True)
        if config.bias or not name.startswith("bias")
    }
