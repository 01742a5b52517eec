"""OpenVINO: a float32 RNN with its own choice of a precision, and with float32 asked for."""

import numpy as np
import onnx
import openvino
from onnx import helper, numpy_helper

core = openvino.Core()
capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
print(core.get_property("CPU", "FULL_DEVICE_NAME"), capabilities)
T, H, rng = 7, 5, np.random.default_rng(0)
W, R, x = (rng.normal(size=s).astype("f4") * 0.4 for s in ((1, H, H), (1, H, H), (T, 1, H)))
value = helper.make_tensor_value_info
graph = helper.make_graph(
    [helper.make_node("RNN", ["x", "W", "R"], ["y"], hidden_size=H)],
    "g",
    [value("x", onnx.TensorProto.FLOAT, ["T", "B", H])],
    [value("y", onnx.TensorProto.FLOAT, ["T", 1, "B", H])],
    [numpy_helper.from_array(W, "W"), numpy_helper.from_array(R, "R")],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
h, true = np.zeros(H), []
for x_t in x.astype("f8"):
    h = np.tanh(W[0] @ x_t[0] + R[0] @ h)
    true.append(h)
errors = {}
for name, options in {"default": {}, "f32": {"INFERENCE_PRECISION_HINT": "f32"}}.items():
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", options)
    found = compiled({"x": x})[0]
    errors[name] = np.abs(found[:, 0, 0] - true).max()
    print(f"{name}: {found.dtype}, largest error {errors[name]:.1e}")
if "BF16" not in capabilities:
    print("absent")
else:
    print("present" if errors["default"] > 1e-4 > errors["f32"] else "fixed")
