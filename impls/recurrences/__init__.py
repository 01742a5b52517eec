"""Recurrences that rnnparity knows by name; nothing here imports the harness.

elman    the tanh and relu recurrence of `torch.nn.RNN`, written by hand, a page each
gru      the gated recurrent unit of `torch.nn.GRU`, by hand, a page each
lstm     the long short-term memory of `torch.nn.LSTM`, by hand, a page each
peers    all three as other libraries have them, called whole
"""
