"""tract: sequence_lens of an RNN, as an input and as a constant."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx.parser
import tract

MODEL = """<ir_version: 8, opset_import: ["": 17]>
g (float[4, 2, 1] x {given}) => (float[4, 1, 2, 1] y)
<float[1, 1, 1] W = {{1}}, float[1, 1, 1] R = {{1}} {stored}>
{{ y = RNN <hidden_size = 1> (x, W, R, , lengths) }}"""
refused = 0
for given, stored in ((", int32[2] lengths", ""), ("", ", int32[2] lengths = {4, 2}")):
    try:
        with TemporaryDirectory() as folder:
            model = onnx.parser.parse_model(MODEL.format(given=given, stored=stored))
            onnx.save(model, Path(folder) / "model.onnx")
            runnable = tract.onnx().load(Path(folder) / "model.onnx").into_model().into_runnable()
        inputs = [np.ones((4, 2, 1), "f4"), np.array([4, 2], "i4")][: 1 + bool(given)]
        print("returns", runnable.run(inputs)[0].to_numpy()[:, 0, 1, 0])
    except Exception as error:
        text = " ".join(str(error).split())
        refused += "not supported" in text
        print("refused:", text[:130])
print("present" if refused == 2 else "fixed")
