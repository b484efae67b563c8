"""How the losses of several tasks become one update; importing this package registers the ways."""

from dmx.weighting import dwa, famo, fixed, gls, imtl_l, rlw, uncertainty

__all__ = ["dwa", "famo", "fixed", "gls", "imtl_l", "rlw", "uncertainty"]
