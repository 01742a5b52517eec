"""tract: RNN, GRU and LSTM without an initial state, on a batch of two."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx.parser
import tract

MODEL = """<ir_version: 8, opset_import: ["": 17]>
g (float[4, 2, 1] x) => (float[4, 1, 2, 1] y, {outputs})
<float[1, {G}, 1] W = {{{ones}}}, float[1, {G}, 1] R = {{{ones}}}>
{{ y, {states} = {operator} <hidden_size = 1> (x, W, R) }}"""
raised = 0
for operator, G in {"RNN": 1, "GRU": 3, "LSTM": 4}.items():
    states = "h, c" if operator == "LSTM" else "h"
    text = MODEL.format(
        operator=operator,
        G=G,
        ones=", ".join("1" * G),
        states=states,
        outputs=", ".join(f"float[1, 2, 1] {state}" for state in states.split(", ")),
    )
    with TemporaryDirectory() as folder:
        onnx.save(onnx.parser.parse_model(text), Path(folder) / "model.onnx")
        model = tract.onnx().load(Path(folder) / "model.onnx").into_model()
    try:
        found = model.into_runnable().run([np.ones((4, 2, 1), "f4")])[0]
        print(operator, "returns", found.to_numpy().shape)
    except Exception as error:
        print(operator, "raises", " ".join(str(error).split())[:160])
        raised += 1
print("present" if raised else "fixed")
