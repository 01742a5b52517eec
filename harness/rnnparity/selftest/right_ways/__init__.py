"""Further correct ways to compute the recurrence and its gradients, which no implementation takes.

Each is a miniature, named by what it does differently, on which the verdict is tested: none may be
failed (`rnnparity selftest`). The 16-bit types are accumulated in float32, as all libraries do.

ways            all of them
way             what one is
recurrence      a layer forward and backward, and a case computed so
gates           one step of each kind of layer, and its derivative
steps           where products and biases meet
sums            orders of summation
nonlinearities  tanh, the logistic function, and their derivatives
gradients       of weights, added up over steps and rows
kernel          a way's arithmetic in a dtype
work            the same as what is computed with it sees it
"""

from rnnparity.selftest.right_ways.recurrence import outcome
from rnnparity.selftest.right_ways.way import Way
from rnnparity.selftest.right_ways.ways import WAYS

__all__ = ["WAYS", "Way", "outcome"]
