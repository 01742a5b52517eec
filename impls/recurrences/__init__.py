"""Recurrences that rnnparity knows by name; nothing here imports the harness.

elman    the tanh and relu recurrence of `torch.nn.RNN`, written by hand, a page each
peers    the same recurrence as other libraries have it, called whole
"""
