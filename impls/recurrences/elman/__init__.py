"""The tanh recurrence of `torch.nn.RNN` (Elman, 1990), written by hand.

Every module here can be read alone and defines the same names in the same order:

    framework    whose arrays it takes
    dtypes       what it declares it can compute in
    prepare      what is done once per set of weights, if there is anything: cell -> prepared
    layer        one layer, one direction: x [T, B, I], h0 [B, H], what was prepared (or the cell)
                 -> output [T, B, H], h_n [B, H]

`torch_rnn` is `torch.nn.RNN` itself: it runs all layers and directions and defines `rnn` instead
of `layer`. Layers, directions and sequences of unequal length are composed around `layer` by
whoever calls it. `triton_fused` imports its kernel, `triton_kernel`; nothing else here imports
another module of this package, and nothing imports the harness.
"""
