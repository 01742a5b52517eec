"""ONNX Runtime on the CPU.

Its list of kernels has float64 for GRU and LSTM; float16 is computed in float32 and rounded.
"""

import os
from typing import Any

import onnxruntime

from rnnparity.implementations.onnx_whole import Inputs, Run, Whole

framework = "numpy"


def start(model: Any, first: Inputs) -> Run:
    """Make a session."""
    options = onnxruntime.SessionOptions()
    # It has a pool of its own, which no variable sizes: it gets what OpenMP gets.
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
    options.log_severity_level = 4  # what it refuses it raises, too
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda given: list(session.run(None, given))


rnn = Whole("rnn", start, ("float32", "float16"))
gru, lstm = (Whole(kind, start, ("float64", "float32", "float16")) for kind in ("gru", "lstm"))
