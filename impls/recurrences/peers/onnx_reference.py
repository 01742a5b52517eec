"""The reference evaluator of the package onnx, in NumPy: made to show what an operator means."""

from typing import Any

from onnx.reference import ReferenceEvaluator

from rnnparity.implementations.onnx_whole import Inputs, Run, Whole

framework = "numpy"


def start(model: Any, first: Inputs) -> Run:
    """Make an evaluator."""
    evaluator = ReferenceEvaluator(model)
    return lambda given: list(evaluator.run(None, given))


rnn, gru, lstm = (
    Whole(kind, start, ("float64", "float32", "float16", "bfloat16"))
    for kind in ("rnn", "gru", "lstm")
)
