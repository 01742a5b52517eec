"""onnxruntime-rnn (RNN), near zero: values so small that tanh(a) = a.

leaves the recurrence at step 0 (row 0, unit 0); tanh loses digits near zero, as (exp(2a)
- 1) / (exp(2a) + 1) does: of 9.84e-05 it makes 9.847e-05, not 9.842e-05; output[1, 0, 3]
is 0.00028837, the truth is 0.0002883: off by 233 units of rounding; 10 are allowed.
"""

import base64

import numpy as np

MODEL = base64.b64decode(
    "CAgSCXJubnBhcml0eTrKAwpqCgF4CgNXXzAKA1JfMAoDQl8wCgASA3lfMBIFaF9uXzAiA1JOTioWCgthY3RpdmF0aW"
    "9uc0oEVGFuaKABCCoXCglkaXJlY3Rpb24iB2ZvcndhcmSgAQMqEgoLaGlkZGVuX3NpemUYAaABAgovCgN5XzASCnlf"
    "am9pbmVkXzAiCVRyYW5zcG9zZSoRCgRwZXJtQABAAkABQAOgAQcKJgoKeV9qb2luZWRfMAoFc2hhcGUSCG91dHB1dF"
    "8wIgdSZXNoYXBlChwKCG91dHB1dF8wEgZvdXRwdXQiCElkZW50aXR5CiEKBWhfbl8wEgNoX24iBkNvbmNhdCoLCgRh"
    "eGlzGACgAQISA3JubiolCAMQB0IFc2hhcGVKGAAAAAAAAAAAAAAAAAAAAAABAAAAAAAAACoTCAEIAQgBEAFCA1dfME"
    "oEWOGnPyoTCAEIAQgBEAFCA1JfMEoEMVeAPyoVCAEIAhABQgNCXzBKCG1CnzrRecM6WhkKAXgSFAoSCAESDgoDEgFU"
    "CgMSAUIKAggBYh4KBm91dHB1dBIUChIIARIOCgMSAVQKAxIBQgoCCAFiGgoDaF9uEhMKEQgBEg0KAggBCgMSAUIKAg"
    "gBQgQKABAR"
)
INPUTS = {
    "x": np.array([-0.0011263875057920814], "float32").reshape((1, 1, 1)),
}
RIGHT = {
    "output": np.array([0.001229085261002183], "float32").reshape((1, 1, 1)),
    "h_n": np.array([0.001229085261002183], "float32").reshape((1, 1, 1)),
}
inf = np.inf  # the unit of what is not judged
UNIT = {
    "output": np.array([3.8046097342186217e-10], "float64").reshape((1, 1, 1)),
    "h_n": np.array([3.8046097342186217e-10], "float64").reshape((1, 1, 1)),
}

import onnxruntime

print("onnxruntime", onnxruntime.__version__)
found = onnxruntime.InferenceSession(MODEL).run(None, INPUTS)

worst = 0.0
for (name, right), unit, array in zip(RIGHT.items(), UNIT.values(), found):
    off = np.abs(np.asarray(array, np.float64) - np.asarray(right, np.float64)) / unit
    worst = max(worst, float(np.nan_to_num(off, nan=np.inf).max()))
    print(name, "is", np.asarray(array).ravel()[:6], "right is", right.ravel()[:6])
print(f"off by {worst:.3g} units of rounding")
print("wrong" if worst > 10 else "right")
