"""OpenVINO: the last state after an empty sequence."""

import numpy as np
import onnx.parser
import openvino

MODEL = """<ir_version: 8, opset_import: ["": 17]>
g (float[T, B, 1] x, float[1, B, 1] h0) => (float[T, 1, B, 1] y, float[1, B, 1] h)
<float[1, {G}, 1] W = {{{ones}}}, float[1, {G}, 1] R = {{{ones}}}>
{{ y, h = {operator} <hidden_size = 1> (x, W, R, , , h0) }}"""
core, wrong = openvino.Core(), 0
h0 = np.full((1, 1000, 1), 0.25, "f4")
for operator, G in {"RNN": 1, "GRU": 3}.items():
    text = MODEL.format(operator=operator, G=G, ones=", ".join("1" * G))
    model = core.read_model(onnx.parser.parse_model(text).SerializeToString())
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    h = compiled({"x": np.empty((0, 1000, 1), "f4"), "h0": h0})[1]
    print(operator, "h_n", np.unique(h)[:4], "is 0.25 in", (h == h0).sum(), "of 1000")
    wrong += not np.array_equal(h, h0)
print("present" if wrong else "fixed")
