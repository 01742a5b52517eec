"""A whole network as one ONNX model, which runtimes are given: the peers', and users' own.

The model is the one that `rnnparity export` writes: a node `RNN`, `GRU` or `LSTM` for each layer,
with its own directions, `sequence_lens` and initial states; `Transpose` and `Reshape` between the
layers, as PyTorch's exporter has them. Its sizes T and B are left open.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rnnparity.cells.config import RNNConfig
from rnnparity.errors import ContractViolation
from rnnparity.implementations.support import Unsupported
from rnnparity.problems.weights import onnx_writer

Array: TypeAlias = NDArray[Any]
Inputs: TypeAlias = dict[str, Array]
Run: TypeAlias = Callable[[Inputs], list[Any]]  # inputs by name, in the model's order
Start: TypeAlias = Callable[[Any, Inputs], Run]  # of a ModelProto, and the first inputs

# What ONNX's operators have. They have no sequence without a batch.
FEATURES = ("layers", "bidirectional", "lengths", "batch_first", "without_h0", "without_bias")
# How a library says that it was not made for this, which is no mistake in what it computes.
REFUSAL = re.compile(r"not (currently |yet )?(support|implement)|unsupported|only supports", re.I)


@dataclass(frozen=True)
class Whole:
    """An implementation of one kind of layer by one runtime.

    Attributes:
        kind: "rnn", "gru" or "lstm".
        start: the runtime.
        dtypes: that its documentation offers.
        supports: what its documentation offers, out of `FEATURES`.
        refusal: what is raised with such words is no error, but unsupported.
        layout: of the operators where the network is batch-first: 1 is ONNX's own way, which few
            runtimes have; 0 transposes around them.
    """

    kind: str
    start: Start
    dtypes: tuple[str, ...] = ("float32",)
    supports: tuple[str, ...] = FEATURES
    framework: str = "numpy"
    refusal: re.Pattern[str] | None = REFUSAL
    layout: int = 0

    def prepare(self, weights: dict[str, Array], config: RNNConfig) -> Callable[[bool, bool], Run]:
        """Return what makes the network ready: by whether it takes lengths, and initial states."""

        @cache
        def started(lengths: bool, initial: bool) -> Run:
            layout = self.layout if config.batch_first else 0
            model = onnx_writer.model(
                weights, config, lengths=lengths, initial=initial, layout=layout
            )
            run: list[Run] = []

            def start_first(given: Inputs) -> list[Any]:
                if not run:
                    run.append(self.start(model, given))
                return run[0](given)

            return start_first

        return started

    def rnn(
        self,
        x: Array,
        h0: Any,
        started: Callable[[bool, bool], Run],
        config: RNNConfig,
        lengths: Array | None,
    ) -> tuple[Array, Any]:
        """Run the network.

        Args:
            x: input, `[T, B, I]`, or `[B, T, I]` if `batch_first`.
            h0: initial state `[L * D, B, H]`, an LSTM's two, or None.
            started: what `prepare` returned.
            config: of the network.
            lengths: of the sequences, `[B]`, or None.

        Returns:
            The output and h_n, an LSTM's (h_n, c_n), laid out as torch's.

        Raises:
            NotImplementedError: the library says that it has no such thing.
        """
        if x.ndim < 3:
            raise Unsupported("ONNX's operators have no sequence without a batch")
        given = {"x": x}
        if h0 is not None:
            given |= dict(zip(("h0", "c0"), h0 if self.kind == "lstm" else (h0,), strict=False))
        if lengths is not None:
            given["lengths"] = lengths.astype(np.int32)
        given = {name: np.ascontiguousarray(value) for name, value in given.items()}
        try:
            output, *states = started(lengths is not None, h0 is not None)(given)
        except Exception as error:
            text = " ".join(str(error).split("Stack backtrace")[0].split())
            if self.refusal is not None and self.refusal.search(text):
                raise NotImplementedError(text) from error
            raise
        return output, tuple(states) if self.kind == "lstm" else states[0]


def of_backend(module: Any, kind: str) -> Any:
    """Return an object with the names of the contract that runs a user's runtime.

    Args:
        module: has `run(model_bytes, inputs)`, and what else it declares.
        kind: of layers, that it is asked for.
    """

    def start(model: Any, first: Inputs) -> Run:
        data = model.SerializeToString()
        names = [value.name for value in model.graph.output]
        return lambda given: _in_order(module.run(data, given), names)

    whole = Whole(kind, start, refusal=None, layout=int(bool(getattr(module, "layout", 0))))
    own = ("dtypes", "nonlinearities", "supports")
    told = {name: getattr(module, name) for name in own if hasattr(module, name)}
    named = {name: getattr(whole, name) for name in ("framework", "kind", "rnn", "prepare")}
    return SimpleNamespace(**{"dtypes": whole.dtypes, "supports": FEATURES} | told | named)


def _in_order(found: Any, names: list[str]) -> list[Any]:
    """Return outputs as a list in the graph's order.

    Raises:
        ContractViolation: they are neither that nor a dict that has all of them.
    """
    expected = f"expected {', '.join(names)}: a list in this order, or a dict"
    if isinstance(found, dict):
        missing = [name for name in names if name not in found]
        if missing:
            raise ContractViolation(f"run returned no {missing[0]}, {expected}")
        return [found[name] for name in names]
    if not isinstance(found, list | tuple):
        raise ContractViolation(f"run returned a {type(found).__name__}, {expected}")
    if len(found) != len(names):
        raise ContractViolation(f"run returned {len(found)} outputs, {expected}")
    return [*found]
