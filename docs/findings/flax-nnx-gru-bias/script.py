"""Flax: the parameters of nnx.GRUCell, whose docstring has b_hn."""

from flax import nnx

cell = nnx.GRUCell(2, 3, rngs=nnx.Rngs(0))
of_h = cell.dense_h.bias
print("dense_i.bias", cell.dense_i.bias.shape, "dense_h.bias", of_h and of_h.shape)
print("in the docstring:", "b_{hn}" in nnx.GRUCell.__doc__)
print("present" if of_h is None or getattr(of_h, "value", of_h) is None else "fixed")
