"""dmx: depth-and-mask experiments."""

__version__ = "0.1.0"
