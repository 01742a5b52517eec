"""Who is compared: finding, loading and calling an implementation. Nothing here judges.

registry        finding one by name
interpreters    which Python runs one: NAME@PATH
contract        loading one, and what it must define
support         what one declares that it can do
modules         one made of a module of PyTorch's
onnx_whole      a whole network as one ONNX model, for the runtimes of peers and of users
module_names    what modules call their parameters, and the line to write for others'
whose_arrays    which framework's arrays a function takes
neighbours      what a user's file imports from beside it
sources         what tells that one has changed: its code, and versions
settings        threads and precision of its process
frameworks      the border to NumPy, JAX and PyTorch: their devices, their arrays
compiled        made ready to be called, once per set of weights
calls           the calls that an implementation gets of one case
execution       one run of a case, from arrays to an outcome
outcome         what came of it: results taken over, or why there are none
invariants      the calls that must not differ, beside the first
gradient_calls  gradients watched
stopwatch       when it was at work
card            an NVIDIA card: caches, clock, name
"""
