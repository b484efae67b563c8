"""Quartets composed of backgrounds and cut-outs, as data sets of this problem are made; with metric depth if known."""

from dmx.datatools.compose.composer import compose
from dmx.datatools.compose.plan import Recipe, Wanted, find_sources

__all__ = ["Recipe", "Wanted", "compose", "find_sources"]
