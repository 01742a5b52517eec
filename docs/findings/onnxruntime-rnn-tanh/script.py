"""ONNX Runtime: the tanh inside RNN against the operator Tanh, for small arguments."""

import numpy as np
import onnx.parser
import onnxruntime

MODEL = """<ir_version: 8, opset_import: ["": 17]>
g (float[1, B, 1] x) => (float[1, 1, B, 1] y, float[1, B, 1] t)
<float[1, 1, 1] W = {1}, float[1, 1, 1] R = {0}>
{ y = RNN <hidden_size = 1> (x, W, R)  t = Tanh(x) }"""
session = onnxruntime.InferenceSession(
    onnx.parser.parse_model(MODEL).SerializeToString(), providers=["CPUExecutionProvider"]
)
x = np.array([1e-6, 1e-5, 1e-4, 1e-3, 0.1, 1], "f4")
true = np.tanh(x.astype("f8"))
rnn, alone = (found.ravel() for found in session.run(None, {"x": x.reshape(1, -1, 1)}))
one = np.float32(1)
formula = 2 * (one / (one + np.exp(-2 * x))) - 1
print("x                  ", x)
print("RNN, relative error", np.abs(rnn / true - 1))
print("Tanh               ", np.abs(alone / true - 1))
print("2 sigmoid(2x) - 1  ", np.abs(formula / true - 1))
print("present" if np.abs(rnn / true - 1).max() > 1e-5 else "fixed")
