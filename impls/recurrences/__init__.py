"""Recurrences that rnnparity knows by name; nothing here imports the harness.

elman    the tanh and relu recurrence of `torch.nn.RNN`, written by hand, a page each
gru      the gated recurrent unit of `torch.nn.GRU`, likewise
lstm     the long short-term memory of `torch.nn.LSTM`, likewise
peers    the tanh and relu recurrence as other libraries have it, called whole
"""
