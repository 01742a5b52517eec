"""tract on the CPU, which takes a model for the sizes that it is told."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tract

from rnnparity.implementations.onnx_whole import Inputs, Run, Whole

framework = "numpy"
SHORT = {"float32": "f32", "float64": "f64", "float16": "f16", "int32": "i32"}


def start(model: Any, first: Inputs) -> Run:
    """Return what has a runnable model for each size."""
    ready: dict[tuple[tuple[int, ...], ...], Any] = {}

    def runnable(given: Inputs) -> Any:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            path.write_bytes(model.SerializeToString())
            loaded = tract.onnx().load(path)
        for k, value in enumerate(given.values()):
            sizes = ",".join(map(str, value.shape))
            loaded.set_input_fact(k, f"{sizes},{SHORT[value.dtype.name]}")
        for k in range(loaded.output_count()):
            loaded.set_output_fact(k, None)
        return loaded.into_model().into_runnable()

    def run(given: Inputs) -> list[Any]:
        sizes = tuple(value.shape for value in given.values())
        if sizes not in ready:
            ready[sizes] = runnable(given)
        return [tensor.to_numpy() for tensor in ready[sizes].run([*given.values()])]

    return run


rnn, gru, lstm = (
    Whole(kind, start, ("float64", "float32", "float16")) for kind in ("rnn", "gru", "lstm")
)
