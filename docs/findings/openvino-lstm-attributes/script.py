"""OpenVINO: an LSTM of one unit with peepholes, and with the input and forget gates coupled."""

import numpy as np
import onnx.parser
import openvino

MODEL = """<ir_version: 8, opset_import: ["": 17]>
g (float[4, 1, 1] x) => (float[4, 1, 1, 1] y)
<float[1, 4, 1] W = {{1, 1, 1, 1}}, float[1, 4, 1] R = {{0.5, 0.5, 0.5, 0.5}},
 float[1, 3] P = {{1, 1, 1}}>
{{ y = LSTM <hidden_size = 1 {attributes}> (x, W, R {P}) }}"""


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


core, wrong = openvino.Core(), 0
for P, coupled in ((0, 0), (1, 0), (0, 1)):
    text = MODEL.format(P=", , , , , P" * P, attributes=", input_forget = 1" * coupled)
    model = core.read_model(onnx.parser.parse_model(text).SerializeToString())
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled({"x": np.ones((4, 1, 1), "f4")})[0].ravel()
    h, c, true = 0.0, 0.0, []
    for _ in range(4):
        a = 1 + 0.5 * h
        i = sigmoid(a + P * c)
        c = (1 - i if coupled else sigmoid(a + P * c)) * c + i * np.tanh(a)
        h = sigmoid(a + P * c) * np.tanh(c)
        true.append(h)
    error = np.abs(found - true).max()
    print(f"peepholes {P}, input_forget {coupled}: largest error {error:.1e}")
    wrong += error > 1e-4
print("present" if wrong else "fixed")
