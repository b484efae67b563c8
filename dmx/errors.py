"""What can go wrong by the user's hand, as types.

A `UserError` ends a command with exit code 2 and its text on stderr. Anything else that escapes is our own fault: exit
code 1 with a traceback.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


class UserError(Exception):
    """A mistake that the user can mend; its text says where it is and what to do."""


class DataError(UserError):
    """A data set that cannot be read as declared."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a configuration: `where` it is (a dotted path) and `what` is wrong."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class ConfigError(UserError):
    """Every problem of one configuration, in one message."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        noun = "problem" if len(self.problems) == 1 else "problems"
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(f"{source} has {len(self.problems)} {noun}:{lines}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Name the known words and, where one is close, propose it.

    >>> did_you_mean("unte", ["unet", "fpn"])
    "did you mean 'unet'? Known: fpn, unet"
    """
    names = sorted(known)
    same = [name for name in names if name.lower() == word.lower()]
    close = same or get_close_matches(word, names, n=1)
    listing = f"Known: {', '.join(names)}" if names else "there is none"
    return f"did you mean '{close[0]}'? {listing}" if close else listing
