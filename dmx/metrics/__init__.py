"""The metrics of mask and depth; importing this package registers them."""

from dmx.metrics.evaluator import Evaluator, definitions, higher_is_better, names
from dmx.metrics.pixels import NO_REFERENCE, ReferenceMaps
from dmx.metrics.probabilities import Probabilities
from dmx.registry import import_modules

__all__ = [
    "NO_REFERENCE",
    "Evaluator",
    "Probabilities",
    "ReferenceMaps",
    "definitions",
    "higher_is_better",
    "names",
]

import_modules(__name__)
