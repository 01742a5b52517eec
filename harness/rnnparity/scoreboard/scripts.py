"""A wrong cell as a script that needs the layer's library and NumPy, not rnnparity.

It holds the smallest case: the network as an ONNX model, the inputs, what is right and the unit of
each element. Only runtimes that are given models have one: other libraries' layers are built by
code, which is the adapter's (`impls/recurrences/peers`).
"""

import base64
import textwrap

from rnnparity.judging.limit import LIMIT
from rnnparity.judging.reference import reference
from rnnparity.problems.cases import Case
from rnnparity.runs import exported
from rnnparity.types import Array

# How a library runs `MODEL` on `INPUTS`, by the beginning of its peers' names.
RUNS = {
    "onnxruntime": """
import onnxruntime

print("onnxruntime", onnxruntime.__version__)
found = onnxruntime.InferenceSession(MODEL).run(None, INPUTS)
""",
    "onnx-reference": """
import onnx
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__)
found = ReferenceEvaluator(onnx.load_from_string(MODEL)).run(None, INPUTS)
""",
    "openvino": """
import openvino

print("openvino", openvino.get_version())
core = openvino.Core()
compiled = core.compile_model(core.read_model(MODEL), "CPU")
found = [*compiled(INPUTS).values()]
""",
    "openvino-f32": """
import openvino

print("openvino", openvino.get_version())
core = openvino.Core()
hint = {"INFERENCE_PRECISION_HINT": "f32"}
compiled = core.compile_model(core.read_model(MODEL), "CPU", hint)
found = [*compiled(INPUTS).values()]
""",
    "tract": """
import tempfile
from importlib.metadata import version

import tract

print("tract", version("tract"))
SHORT = {"float32": "f32", "float64": "f64", "float16": "f16", "int32": "i32"}
with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
    file.write(MODEL)
    file.flush()
    model = tract.onnx().load(file.name)
for k, array in enumerate(INPUTS.values()):
    sizes = ",".join(map(str, array.shape))
    model.set_input_fact(k, f"{sizes},{SHORT[array.dtype.name]}")
for k in range(model.output_count()):
    model.set_output_fact(k, None)
found = [one.to_numpy() for one in model.into_model().into_runnable().run([*INPUTS.values()])]
""",
}

SCRIPT = '''"""{title}

{what}
"""

import base64

import numpy as np

MODEL = base64.b64decode(
{model}
)
INPUTS = {inputs}
RIGHT = {right}
inf = np.inf  # the unit of what is not judged
UNIT = {unit}
{run}
worst = 0.0
for (name, right), unit, array in zip(RIGHT.items(), UNIT.values(), found):
    off = np.abs(np.asarray(array, np.float64) - np.asarray(right, np.float64)) / unit
    worst = max(worst, float(np.nan_to_num(off, nan=np.inf).max()))
    print(name, "is", np.asarray(array).ravel()[:6], "right is", right.ravel()[:6])
print(f"off by {{worst:.3g}} units of rounding")
print("wrong" if worst > {limit:g} else "right")
'''


def script(name: str, case: Case, title: str, what: str) -> str:
    """Return a script for a peer that is given ONNX models; "" for another one.

    Args:
        name: of the peer, without its kind.
        case: in which it is wrong; of its outputs and last states, not of gradients.
        title: its first line.
        what: is wrong, in a sentence.
    """
    run = _run(name)
    if not run or case.B is None:
        return ""
    plain = case.replace(invariants=False, one_more_step=False)
    model, inputs, right, units = exported.as_model(plain, reference(plain))
    encoded = base64.b64encode(model.SerializeToString()).decode()
    lines = "\n".join(f'    "{part}"' for part in textwrap.wrap(encoded, 90))
    return SCRIPT.format(
        title=title,
        what=textwrap.fill(what, 90),
        model=lines,
        inputs=_dict(inputs),
        right=_dict(right),
        unit=_dict(units),
        run=run,
        limit=LIMIT,
    )


def _run(name: str) -> str:
    known = [beginning for beginning in RUNS if name.startswith(beginning)]
    return RUNS[max(known, key=len)] if known else ""


def _dict(arrays: dict[str, Array]) -> str:
    lines = [
        f'    "{name}": np.array({array.ravel().tolist()}, "{array.dtype}").reshape({array.shape}),'
        for name, array in arrays.items()
    ]
    return "{\n" + "\n".join(lines) + "\n}"
