"""What an implementation can do: what it may declare of that, and why a case is outside."""

from collections.abc import Callable
from dataclasses import dataclass

from rnnparity.problems import assumed
from rnnparity.problems.cases import Case

# What a whole `rnn` may leave out: whether a case needs it, by the name to declare. One direction
# of one layer with biases, on a batch `[T, B, I]` with an initial state, is what all can do.
FEATURES: dict[str, Callable[[Case], bool]] = {
    "layers": lambda case: case.config.num_layers > 1,
    "bidirectional": lambda case: case.config.bidirectional,
    "lengths": lambda case: case.ragged,
    "batch_first": lambda case: case.config.batch_first and case.B is not None,
    "unbatched": lambda case: case.B is None,
    "without_h0": lambda case: not case.h0,
    "without_bias": lambda case: not case.config.bias,
}


class Unsupported(NotImplementedError):
    """What an implementation cannot do, as it was found out here; the message is the reason."""


@dataclass(frozen=True)
class Support:
    """What an implementation declares that it can do.

    Attributes:
        kind: of layers: "rnn", "gru" or "lstm".
        dtypes: that it computes in.
        nonlinearities: of a plain RNN.
        devices: kinds ("cpu", "cuda", "mps"); None for all of the framework.
        features: names out of `FEATURES`; None for all.
    """

    kind: str
    dtypes: tuple[str, ...]
    nonlinearities: tuple[str, ...]
    devices: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None

    def has(self, feature: str) -> bool:
        """Whether a name out of `FEATURES` is among what is declared."""
        return self.features is None or feature in self.features

    def lacks(self, case: Case, device: str) -> str | None:
        """Return why a case is outside what is declared, or None if it is inside."""
        if case.config.kind != self.kind:
            return f"is of the kind {self.kind}"
        if case.dtype not in self.dtypes:
            return f"declares dtypes {', '.join(self.dtypes)}{assumed.dtype(case, self.dtypes)}"
        if case.config.nonlinearity not in self.nonlinearities:
            told = assumed.nonlinearity(case)
            return f"declares nonlinearities {', '.join(self.nonlinearities)}{told and '; ' + told}"
        if self.devices is not None and device.partition(":")[0] not in self.devices:
            return f"declares devices {', '.join(self.devices)}"
        for feature, needs in FEATURES.items():
            if needs(case) and not self.has(feature):
                return f"declares supports ({', '.join(self.features or ())}); this needs {feature}"
        return None
