"""A case: everything that decides the numbers, and the id that it goes by."""

from typing import Any

import msgspec

from rnnparity.cells.config import RNNConfig
from rnnparity.errors import UsageError, no_such

DTYPES = ("float32", "float64", "bfloat16", "float16")


class Case(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One problem to run: same case, same bits of input, on every machine.

    Attributes:
        config: the arguments of `torch.nn.RNN`.
        T: time steps.
        B: batch size; None for unbatched input `[T, I]`.
        dtype: "float32", "float64", "bfloat16" or "float16".
        regime: how weights and inputs are drawn, a name from `problems.regimes.REGIMES`, or
            "trained" with `weights`.
        seed: picks one draw.
        ragged: sequences of unequal length (the longest has T steps).
        h0: whether an initial state is given; if not, it is None.
        one_more_step: run once more, on one more step, with h_n fed back in.
        inputs: the path of a `.npz` file with x, laid out as the config says, and perhaps h0 and
            lengths; None to draw them.
        invariants: whether it is also run in the dearer ways that must not matter (`invariants`).
        strided: x and h0 are views into larger arrays: their features do not lie side by side.
        judged: at most so many rows of the batch are judged; None for as many as can be afforded.
        assumed: nobody says the nonlinearity of these weights: tanh is taken.
        weights: "digits", the model that comes with the package, or the path of a weights file.
    """

    config: RNNConfig
    T: int
    B: int | None = None
    dtype: str = "float32"
    regime: str = "torch-init"
    seed: int = 0
    ragged: bool = False
    h0: bool = True
    one_more_step: bool = False
    weights: str | None = None
    inputs: str | None = None
    invariants: bool = False
    judged: int | None = None
    strided: bool = False
    assumed: bool = False

    def __post_init__(self) -> None:
        """Refuse sizes that no RNN has.

        Raises:
            UsageError: T or B below 1, or unequal lengths without a batch.
        """
        if self.dtype not in DTYPES:
            raise UsageError(no_such("dtype", self.dtype, DTYPES))
        if self.T < 1 or (self.B is not None and self.B < 1):
            raise UsageError(f"T={self.T}, B={self.B}: expected 1 or more of each")
        if self.ragged and self.B is None:
            raise UsageError("sequences of unequal length need a batch: B is None")

    @property
    def id(self) -> str:
        """The case in words: `float32-critical-bidirectional-2layers-T20-B4-I8-H16`."""
        config = self.config
        features = {
            config.kind: config.kind != "rnn",
            "bidirectional": config.bidirectional,
            f"{config.num_layers}layers": config.num_layers > 1,
            config.nonlinearity: config.nonlinearity != "tanh",
            "nobias": not config.bias,
            "batchfirst": config.batch_first,
            f"dropout{config.dropout:g}": config.dropout > 0,
            "ragged": self.ragged,
            "noh0": not self.h0,
            "onemorestep": self.one_more_step,
            "strided": self.strided,
            "invariants": self.invariants,
        }
        source = self.regime if self.weights is None else _stem(self.weights)
        own = [] if self.inputs is None else [_stem(self.inputs)]
        words = [self.dtype, source, *own, *(word for word, present in features.items() if present)]
        words.append(f"T{self.T}")
        words.append("unbatched" if self.B is None else f"B{self.B}")
        words += [f"I{config.input_size}", f"H{config.hidden_size}"]
        if self.seed:
            words.append(f"seed{self.seed}")
        return "-".join(words)

    def replace(self, **changes: Any) -> "Case":
        """Return the case with some attributes changed."""
        return msgspec.structs.replace(self, **changes)


def full_id(implementation: str, device: str, case: Case) -> str:
    """Return the id of one check: `jax-scan-cpu-float32-torch-init-2layers-...`."""
    return f"{implementation}-{device.replace(':', '')}-{case.id}"


def _stem(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0]
