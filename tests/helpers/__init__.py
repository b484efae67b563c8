"""What tests of several folders share, but for fixtures."""

from helpers.checking import typecheck

__all__ = ["typecheck"]
