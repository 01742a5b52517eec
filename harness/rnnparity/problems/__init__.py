"""What implementations are run on: cases, and the arrays that are drawn or read for them.

cases            everything that decides the numbers, and its id
presets          sets of cases by name
edges            cases at the edges of kernels
sizes            what is timed under a name
regimes          how weights and inputs are drawn, by name
structures       structured weights and inputs
arrays           a case's arrays, laid out as `torch.nn.RNN` takes them
setup            the same, time-major, as computations by hand take them
quantities       what is compared, by name
dtypes           the floating-point formats
assumed          what was assumed of a user's weights, in words
given            weights and inputs of a user, kept with the run
saved            arrays in files that anybody wrote
outputs          outputs that a port wrote, fitted to their case
weights          reading weights: modules, state dicts, files; the configuration they imply
formats          what a weights file is, told by its content
tensors          what is in a weights file, by name
torch_files      the same of what `torch.save` wrote; what a safe load refuses, named
live             live torch modules, whatever wraps them
layers           the recurrent layers among tensors by name; choosing one
parametrised     weights that are kept as a formula: weight norm, spectral norm, ...
other_libraries  parameters as Keras and Flax name them, turned into torch's
onnx_format      what ONNX calls the kinds of layers: operators, the order of gates
onnx_graph       what an ONNX file holds: nodes, and values that are stored or made of stored ones
onnx_stacks      which nodes of it are one network, and what it is called
onnx_unrolled    one whose steps an exporter wrote out, read by torch's names
onnx_reader      reading `.onnx`
onnx_writer      writing it
digits           the trained model that comes with the package
"""
