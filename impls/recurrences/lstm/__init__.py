"""The long short-term memory of `torch.nn.LSTM` (Hochreiter and Schmidhuber, 1997), by hand.

Every module here can be read alone and defines the same names in the same order:

    kind         "lstm"
    framework    whose arrays it takes
    dtypes       what it declares it can compute in
    prepare      what is done once per set of weights: cell -> prepared
    layer        one layer, one direction: x [T, B, I], h0 [B, H], c0 [B, H], what was prepared
                 -> output [T, B, H], h_n [B, H], c_n [B, H]

`torch_rnn` is `torch.nn.LSTM` itself: it runs all layers and directions and defines `rnn` instead
of `layer`. Layers, directions and sequences of unequal length are composed around `layer` by
whoever calls it. No module imports another one of this package, and none imports the harness.
"""
