"""What a study came to, as one page for people."""

from dmx.report.account import Account, gather
from dmx.report.files import write
from dmx.report.page import page

__all__ = ["Account", "gather", "page", "write"]
