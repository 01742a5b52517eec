"""tract: an RNN without an initial state whose batch is left open; in a process that may end."""

import subprocess
import sys

CHILD = """
import sys, tempfile, numpy, onnx.parser, tract
text = '''<ir_version: 8, opset_import: ["": 17]>
g (float[4, BATCH, 1] x) => (float[4, 1, BATCH, 1] y)
<float[1, 1, 1] W = {1}, float[1, 1, 1] R = {1}>
{ y = RNN <hidden_size = 1> (x, W, R) }'''.replace("BATCH", sys.argv[1])
with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
    onnx.save(onnx.parser.parse_model(text), file.name)
    loaded = tract.onnx().load(file.name)
found = loaded.into_model().into_runnable().run([numpy.ones((4, 2, 1), "f4")])[0]
print("returns", found.to_numpy().shape)
"""
died = 0
for batch in ("2", "B"):
    command = [sys.executable, "-c", CHILD, batch]
    done = subprocess.run(command, capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if "Undetermined" in line]
    print(f"B={batch}: exit {done.returncode}", done.stdout.strip(), *said)
    died += done.returncode < 0
print("present" if died else "fixed")
