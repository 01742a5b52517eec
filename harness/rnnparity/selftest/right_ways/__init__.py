"""Further correct ways to compute the recurrence and its gradients, which no implementation takes.

Each is a miniature, named by what it does differently, on which the verdict is tested: none may be
failed (`rnnparity selftest`). The 16-bit types are accumulated in float32, as all libraries do.
"""

from rnnparity.selftest.right_ways.recurrence import Way, outcome
from rnnparity.selftest.right_ways.ways import WAYS

__all__ = ["WAYS", "Way", "outcome"]
