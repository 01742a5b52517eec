"""tract: the operator Sigmoid at large arguments."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx.parser
import tract

MODEL = """<ir_version: 8, opset_import: ["": 17]>
g (float[6] x) => (float[6] y) { y = Sigmoid(x) }"""
x = np.array([-30, -20, -15, -10, 10, 20], "f4")
with TemporaryDirectory() as folder:
    onnx.save(onnx.parser.parse_model(MODEL), Path(folder) / "model.onnx")
    model = tract.onnx().load(Path(folder) / "model.onnx").into_model()
found = model.into_runnable().run([x])[0].to_numpy()
true = 1 / (1 + np.exp(-x.astype("f8")))
for one, is_, should in zip(x, found, true, strict=True):
    print(f"{one:4.0f}: {is_:.7e}, should be {should:.7e}")
print("present" if np.abs(found / true - 1).max() > 1e-2 else "fixed")
