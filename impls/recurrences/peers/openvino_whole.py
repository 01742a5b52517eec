"""OpenVINO on the CPU: with its own choice of a precision, and with float32 asked for.

Where the processor has bfloat16 its own choice for a float32 model is bfloat16. Its documentation
has no float64.
"""

import os
from typing import Any

import openvino

from rnnparity.implementations.onnx_whole import Inputs, Run, Whole

framework = "numpy"


def start(model: Any, first: Inputs, **options: Any) -> Run:
    """Compile the model."""
    core = openvino.Core()
    options["INFERENCE_NUM_THREADS"] = int(os.environ.get("OMP_NUM_THREADS", "0"))
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", options)
    return lambda given: [value.copy() for value in compiled(given).values()]


def start_in_float32(model: Any, first: Inputs) -> Run:
    """Compile the model to compute in float32."""
    return start(model, first, INFERENCE_PRECISION_HINT="f32")


KINDS = ("rnn", "gru", "lstm")
rnn, gru, lstm = (Whole(kind, start, ("float32", "float16")) for kind in KINDS)
rnn_f32, gru_f32, lstm_f32 = (Whole(kind, start_in_float32) for kind in KINDS)
