"""Keras makes float32 of float64: which operations, on the backend that is named.

python script.py torch    (or jax, openvino, tensorflow)
"""

import os
import sys

os.environ["KERAS_BACKEND"] = (sys.argv[1:] or ["torch"])[0]
os.environ["JAX_ENABLE_X64"] = "1"

import keras
import numpy as np

backend = keras.backend.backend()
a = keras.ops.convert_to_tensor(np.eye(2), dtype="float64")
found = {
    "matmul": keras.ops.matmul(a, a),
    "add": keras.ops.add(a, a),
    "tanh": keras.ops.tanh(a),
    "sigmoid": keras.ops.sigmoid(a),
}
lost = [name for name, b in found.items() if keras.backend.standardize_dtype(b.dtype) != "float64"]
print(f"present on {backend}: {', '.join(lost)}" if lost else f"fixed on {backend}")
