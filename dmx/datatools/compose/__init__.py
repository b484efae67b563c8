"""Compose quartets from backgrounds and cut-outs, with metric depth if the backgrounds have it."""

from dmx.datatools.compose.composer import compose
from dmx.datatools.compose.plan import Recipe, Wanted, find_sources

__all__ = ["Recipe", "Wanted", "compose", "find_sources"]
