"""onnx.reference: sequence_lens of RNN, GRU and LSTM."""

import numpy as np
import onnx.parser
from onnx.reference import ReferenceEvaluator

MODEL = """<ir_version: 8, opset_import: ["": 17]>
g (float[T, B, 1] x, int32[B] lengths) => (float[T, 1, B, 1] y, float[1, B, 1] h)
<float[1, {G}, 1] W = {{{ones}}}, float[1, {G}, 1] R = {{{ones}}}>
{{ y, h = {operator} <hidden_size = 1> (x, W, R, , lengths) }}"""
x, lengths = np.ones((6, 2, 1), "f4"), np.array([6, 2], "i4")
ignored = 0
for operator, G in {"RNN": 1, "GRU": 3, "LSTM": 4}.items():
    text = MODEL.format(operator=operator, G=G, ones=", ".join("1" * G))
    run = ReferenceEvaluator(onnx.parser.parse_model(text)).run
    y, h = run(None, {"x": x, "lengths": lengths})
    past, last = np.abs(y[2:, 0, 1]).max(), y[1, 0, 1, 0]
    print(f"{operator}: past the end {past:.3f}, h_n {h[0, 1, 0]:.3f}, should be {last:.3f}")
    ignored += past > 0 or h[0, 1, 0] != last
print("present" if ignored else "fixed")
