"""What is computed: a layer's recurrence, and the whole network around it.

elman    one layer in one direction, forward and backward: the formula
config   the arguments of `torch.nn.RNN`, its parameters' names and shapes
network  layers, directions and unequal lengths around a layer
"""
