"""What all tests share: a numeric environment set before any framework is imported."""

import os

from rnnparity.settings import Settings

os.environ.update(Settings().environment_variables())

from rnnparity.conformance.evaluation import border, evaluate, find_device, loaded, reference_of

__all__ = ["border", "evaluate", "find_device", "loaded", "reference_of"]
