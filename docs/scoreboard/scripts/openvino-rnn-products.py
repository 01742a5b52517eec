"""openvino (RNN), products: matrix products of float32 are made in float32.

matrix products of float32 run in bfloat16.
"""

import base64

import numpy as np

MODEL = base64.b64decode(
    "CAgSCXJubnBhcml0eTrKAwpqCgF4CgNXXzAKA1JfMAoDQl8wCgASA3lfMBIFaF9uXzAiA1JOTioWCgthY3RpdmF0aW"
    "9uc0oEVGFuaKABCCoXCglkaXJlY3Rpb24iB2ZvcndhcmSgAQMqEgoLaGlkZGVuX3NpemUYAaABAgovCgN5XzASCnlf"
    "am9pbmVkXzAiCVRyYW5zcG9zZSoRCgRwZXJtQABAAkABQAOgAQcKJgoKeV9qb2luZWRfMAoFc2hhcGUSCG91dHB1dF"
    "8wIgdSZXNoYXBlChwKCG91dHB1dF8wEgZvdXRwdXQiCElkZW50aXR5CiEKBWhfbl8wEgNoX24iBkNvbmNhdCoLCgRh"
    "eGlzGACgAQISA3JubiolCAMQB0IFc2hhcGVKGAAAAAAAAAAAAAAAAAAAAAABAAAAAAAAACoTCAEIAQgBEAFCA1dfME"
    "oE99lBPyoTCAEIAQgBEAFCA1JfMEoEO6kkPyoVCAEIAhABQgNCXzBKCKLlNz9Rt2E/WhkKAXgSFAoSCAESDgoDEgFU"
    "CgMSAUIKAggBYh4KBm91dHB1dBIUChIIARIOCgMSAVQKAxIBQgoCCAFiGgoDaF9uEhMKEQgBEg0KAggBCgMSAUIKAg"
    "gBQgQKABAR"
)
INPUTS = {
    "x": np.array([-1.1534208059310913], "float32").reshape((1, 1, 1)),
}
RIGHT = {
    "output": np.array([0.6210078001022339], "float32").reshape((1, 1, 1)),
    "h_n": np.array([0.6210078001022339], "float32").reshape((1, 1, 1)),
}
inf = np.inf  # the unit of what is not judged
UNIT = {
    "output": np.array([1.4131458329193482e-07], "float64").reshape((1, 1, 1)),
    "h_n": np.array([1.4131458329193482e-07], "float64").reshape((1, 1, 1)),
}

import openvino

print("openvino", openvino.get_version())
core = openvino.Core()
compiled = core.compile_model(core.read_model(MODEL), "CPU")
found = [*compiled(INPUTS).values()]

worst = 0.0
for (name, right), unit, array in zip(RIGHT.items(), UNIT.values(), found):
    off = np.abs(np.asarray(array, np.float64) - np.asarray(right, np.float64)) / unit
    worst = max(worst, float(np.nan_to_num(off, nan=np.inf).max()))
    print(name, "is", np.asarray(array).ravel()[:6], "right is", right.ravel()[:6])
print(f"off by {worst:.3g} units of rounding")
print("wrong" if worst > 10 else "right")
