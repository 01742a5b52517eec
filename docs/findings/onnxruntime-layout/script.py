"""ONNX Runtime: the attribute layout=1 of RNN, GRU and LSTM."""

import onnx.parser
import onnxruntime

MODEL = """<ir_version: 8, opset_import: ["": 17]>
g (float[B, T, 1] x) => (float[B, T, 1, 1] y)
<float[1, {G}, 1] W = {{{ones}}}, float[1, {G}, 1] R = {{{ones}}}>
{{ y = {operator} <hidden_size = 1, layout = 1> (x, W, R) }}"""
options = onnxruntime.SessionOptions()
options.log_severity_level = 4
refused = 0
for operator, G in {"RNN": 1, "GRU": 3, "LSTM": 4}.items():
    text = MODEL.format(operator=operator, G=G, ones=", ".join("1" * G))
    model = onnx.parser.parse_model(text).SerializeToString()
    try:
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        print(operator, "is taken")
    except Exception as error:
        refused += "not supported" in str(error)
        print(operator, " ".join(str(error).split("Batchwise")[-1].split()))
print("present" if refused == 3 else "fixed")
