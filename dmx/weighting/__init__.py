"""How the losses of several tasks become one; importing this package registers the ways."""

from dmx.weighting import fixed, uncertainty

__all__ = ["fixed", "uncertainty"]
