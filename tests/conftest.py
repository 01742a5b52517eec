"""What all tests share: a numeric environment set before any framework is imported.

A user's own variables are kept: `machines.py` runs the tests under those of other machines.
"""

import os

from rnnparity.settings import Settings, threads_given

os.environ.update(Settings(threads=threads_given()).environment_variables())

from rnnparity.conformance.evaluation import border, evaluate, find_device, loaded, reference_of

__all__ = ["border", "evaluate", "find_device", "loaded", "reference_of"]
