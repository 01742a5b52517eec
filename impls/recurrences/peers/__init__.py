"""Other people's layers of the same recurrence, as their users call them.

Each module hands the weights of a `torch.nn.RNN`, `GRU` or `LSTM` to a library's own layer and
defines `layer` or `rnn` around it. They are compared with, not held up as models: what one cannot
do is declared.
"""
