"""What implementations are run on: cases, and the arrays that are drawn or read for them.

cases        everything that decides the numbers, and its id
presets      sets of cases by name
edges        cases at the edges of kernels
sizes        what is timed under a name
regimes      how weights and inputs are drawn, by name
structures   structured weights and inputs
arrays       a case's arrays, laid out as `torch.nn.RNN` takes them
setup        the same, time-major, as computations by hand take them
quantities   what is compared, by name
dtypes       the floating-point formats
assumed      what was assumed of a user's weights, in words
given        weights and inputs of a user, kept with the run
weights      reading weights: modules, state dicts, files; the configuration they imply
tensors      what is in a weights file, by name: `.pt`, `.safetensors`, `.onnx`
onnx_format  what ONNX calls the kinds of layers: operators, the order of gates
onnx_reader  reading `.onnx`
onnx_writer  writing it
digits       the trained model that comes with the package
"""
