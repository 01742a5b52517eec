"""OpenVINO: an RNN with layout=1, whose x is [B, T, I]."""

import numpy as np
import onnx.parser
import openvino

MODEL = """<ir_version: 8, opset_import: ["": 17]>
g (float[{B}, {T}, 1] x) => (float[{B}, {T}, 1, 1] y)
<float[1, 1, 1] W = {{1}}, float[1, 1, 1] R = {{1}}>
{{ y = RNN <hidden_size = 1, layout = 1> (x, W, R) }}"""
core = openvino.Core()
x, true, h = np.ones((3, 7, 1), "f4"), np.empty((3, 7, 1, 1)), 0.0
for t in range(7):
    h = np.tanh(1 + h)
    true[:, t] = h
wrong = 0
for B, T in (("B", "T"), (3, 7)):
    text = MODEL.format(B=B, T=T)
    try:
        model = core.read_model(onnx.parser.parse_model(text).SerializeToString())
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found = compiled({"x": x})[0]
        right = found.shape == true.shape and np.abs(found - true).max() < 1e-4
        print(f"[{B}, {T}, 1]: shape {found.shape}, should be {true.shape}; right: {right}")
        wrong += not right
    except Exception as error:
        print(f"[{B}, {T}, 1]: refused: {str(error).splitlines()[0][:90]}")
print("present" if wrong else "fixed")
