"""OpenVINO: sequence_lens of RNN, GRU and LSTM, with T left open and with T given."""

import numpy as np
import onnx.parser
import openvino

MODEL = """<ir_version: 8, opset_import: ["": 17]>
g (float[{T}, 2, 1] x, int32[2] lengths) => (float[{T}, 1, 2, 1] y, float[1, 2, 1] h)
<float[1, {G}, 1] W = {{{ones}}}, float[1, {G}, 1] R = {{{ones}}}>
{{ y, h = {operator} <hidden_size = 1> (x, W, R, , lengths) }}"""
core = openvino.Core()
x, lengths = np.ones((6, 2, 1), "f4"), np.array([6, 2], "i4")
ignored = []
for operator, G in {"RNN": 1, "GRU": 3, "LSTM": 4}.items():
    for T in ("T", "6"):
        text = MODEL.format(operator=operator, G=G, T=T, ones=", ".join("1" * G))
        model = core.read_model(onnx.parser.parse_model(text).SerializeToString())
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        y, h = compiled({"x": x, "lengths": lengths}).values()
        past, last = np.abs(y[2:, 0, 1]).max(), y[1, 0, 1, 0]
        print(f"{operator} T={T}: past the end {past:.3f}, h_n {h[0, 1, 0]:.3f}, is {last:.3f}")
        if past > 0 or h[0, 1, 0] != last:
            ignored.append(T)
print("present" if ignored else "fixed")
