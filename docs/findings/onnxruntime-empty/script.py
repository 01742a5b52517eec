"""ONNX Runtime: an empty batch, an empty sequence; each in a process that may end."""

import subprocess
import sys

CHILD = """
import sys, numpy, onnx.parser, onnxruntime
operator, G, T, B = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
ones = "{" + ", ".join("1" * G) + "}"
text = f'''<ir_version: 8, opset_import: ["": 17]>
g (float[T, B, 1] x) => (float[T, 1, B, 1] y)
<float[1, {G}, 1] W = {ones}, float[1, {G}, 1] R = {ones}>
{{ y = {operator} <hidden_size = 1> (x, W, R) }}'''
model = onnx.parser.parse_model(text).SerializeToString()
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
print("returns", session.run(None, {"x": numpy.ones((T, B, 1), "f4")})[0].shape)
"""
died = 0
for operator, G in {"RNN": 1, "GRU": 3, "LSTM": 4}.items():
    for T, B in ((5, 2), (5, 0), (0, 2)):
        command = [sys.executable, "-c", CHILD, operator, str(G), str(T), str(B)]
        done = subprocess.run(command, capture_output=True, text=True)
        died += done.returncode < 0
        told = (done.stdout or done.stderr).strip().splitlines()[-1]
        print(f"{operator} T={T} B={B}: exit {done.returncode}, {told[:90]}")
print("present" if died else "fixed")
