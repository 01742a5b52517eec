"""What is computed: a layer's recurrence, and the whole network around it.

elman       the plain RNN's step, with tanh or relu
gru         a GRU's step
lstm        an LSTM's step
recurrence  one layer in one direction, forward and backward, by its traced step
step        from a step's formula to its program and its derivative
program     straight-line programs
operations  what a step is written over, and their derivatives
config      the arguments of `torch.nn.RNN`, its parameters' names and shapes
network     layers, directions and unequal lengths around a layer

A further kind is a file of its step, with a line in `recurrence.STEPS` and in `config.KINDS`.
"""
