"""tract: an RNN in each direction, against the same recurrence in NumPy."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx.parser
import tract

MODEL = """<ir_version: 8, opset_import: ["": 17]>
g (float[5, 1, 1] x) => (float[5, {D}, 1, 1] y, float[{D}, 1, 1] h)
<float[{D}, 1, 1] W = {{{ones}}}, float[{D}, 1, 1] R = {{{ones}}}>
{{ y, h = RNN <hidden_size = 1, direction = "{direction}"> (x, W, R) }}"""
x = np.linspace(-1, 1, 5, dtype="f4").reshape(5, 1, 1)


def recurrence(steps):
    h, output = 0.0, {}
    for t in steps:
        h = output[t] = np.tanh(x[t, 0, 0] + h)
    return [output[t] for t in range(5)]


true = {"forward": [recurrence(range(5))], "reverse": [recurrence(range(5)[::-1])]}
true["bidirectional"] = true["forward"] + true["reverse"]
wrong = 0
for direction, expected in true.items():
    text = MODEL.format(direction=direction, D=len(expected), ones=", ".join("1" * len(expected)))
    with TemporaryDirectory() as folder:
        onnx.save(onnx.parser.parse_model(text), Path(folder) / "model.onnx")
        model = tract.onnx().load(Path(folder) / "model.onnx").into_model()
    found = model.into_runnable().run([x])[0].to_numpy()[:, :, 0, 0].T
    print(f"{direction}: {np.round(found, 3).tolist()}, error {np.abs(found - expected).max():.1e}")
    wrong += np.abs(found - expected).max() > 1e-4
print("present" if wrong else "fixed")
