"""The command line, for all tests of commands."""

from helpers.commands import Said, dmx

__all__ = ["Said", "dmx"]
