"""onnx.reference: does an attribute change what is computed?"""

import numpy as np
import onnx.parser
from onnx.reference import ReferenceEvaluator

MODEL = """<ir_version: 8, opset_import: ["": 17]>
g (float[4, 1, 1] x) => (float[4, 1, 1, 1] y)
<float[1, {G}, 1] W = {{{ones}}}, float[1, {G}, 1] R = {{{ones}}}>
{{ y = {operator} <hidden_size = 1 {attributes}> (x, W, R) }}"""
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def computed(operator, attributes=""):
    G = GATES[operator]
    ones = ", ".join("1" * G)
    model = onnx.parser.parse_model(MODEL.format(**locals()))
    return ReferenceEvaluator(model).run(None, {"x": np.ones((4, 1, 1), "f4")})[0]


ignored = 0
for operator, attributes in (
    ("RNN", ', activations = ["Relu"]'),
    ("GRU", ', activations = ["Sigmoid", "Relu"]'),
    ("LSTM", ', activations = ["Sigmoid", "Relu", "Tanh"]'),
    *((operator, ", clip = 0.1") for operator in GATES),
    ("LSTM", ", input_forget = 1"),
):
    try:
        same = np.array_equal(computed(operator), computed(operator, attributes))
        print(operator, attributes[2:], "is ignored" if same else "counts")
        ignored += same
    except Exception as error:
        print(operator, attributes[2:], "is refused:", str(error).splitlines()[0][:60])
print("present" if ignored else "fixed")
