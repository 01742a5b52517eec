"""openvino (RNN), plain: one layer, time first, a batch; tanh, or the only one that it has.

leaves the recurrence at step 0 (row 0, unit 0); the input product alone is off; output[0,
3, 5] is 0.102, the truth is 0.0975: off by 4.83e+04 units of rounding; 10 are allowed.
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
