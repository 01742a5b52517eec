"""Weights of users: out of modules, state dicts and files of any library, by torch's names.

reading          a layer's parameters by torch's names, and the configuration they imply
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
"""

from rnnparity.problems.weights.layers import NAMES
from rnnparity.problems.weights.reading import config_of, infer_config, read, write

__all__ = ["NAMES", "config_of", "infer_config", "read", "write"]
