"""Exceptions for mistakes of the user and failures of the machine.

A `UserError` ends a command with exit code 2 and its text on stderr, a `MachineError` with exit code 1. Any other
uncaught exception is a bug in dmx: exit code 1 with a traceback.
"""

import errno
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

LONGEST, LONGEST_WORD, LONGEST_LIST = 1900, 240, 900
"""Greatest lengths in characters: of a message, of a word in it, and of a list of known names."""


def shortened(text: str, longest: int = LONGEST) -> str:
    """Shorten a text for reading: cut the middle of long words and, if it is still too long, of the text.

    The end is kept, because messages end with the advice.

    >>> shortened("x" * 100_000)[190:]
    'xxxxxxxxxx ... (99,760 more characters) ... xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'
    """
    text = re.sub(rf"\S{{{LONGEST_WORD + 1},}}", lambda word: _without_middle(word[0], LONGEST_WORD, 40), text)
    return _without_middle(text, longest, longest // 3)


def _without_middle(text: str, longest: int, end: int) -> str:
    if len(text) <= longest:
        return text
    return f"{text[: longest - end]} ... ({len(text) - longest:,} more characters) ... {text[len(text) - end :]}"


class UserError(Exception):
    """A mistake that the user can correct; the text says where it is and what to do."""

    def __init__(self, text: str) -> None:
        super().__init__(shortened(text))


class MachineError(Exception):
    """A failure outside of dmx, such as a killed process; running the same command again may succeed."""


class DataError(UserError):
    """A data set that cannot be read as declared."""


class FullError(UserError):
    """No space is left to write to."""


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers for no space: on the disk, in the user's quota, or within the limit of file size."""

ELSEWHERE = "give another place (results go to --home or DMX_HOME)"
ROOM = "make room and call the same command again; it goes on where it was left"
PLACES = {
    errno.EACCES: f"{ELSEWHERE}, or take the right to it",
    errno.EPERM: f"{ELSEWHERE}, or take the right to it",
    errno.EROFS: ELSEWHERE,
    errno.ENOTDIR: "a file stands where a folder is needed: move it, or give another place",
    errno.EEXIST: "a file stands where a folder is needed: move it, or give another place",
    errno.EISDIR: "a folder stands where a file is needed: move it, or give another place",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "its links lead in a circle: mend them, or give another place",
    errno.ENOSPC: ROOM,
    errno.EDQUOT: ROOM,
    errno.EFBIG: "the system allows no larger file (see `ulimit -f`)",
}
"""Advice by error number for places that cannot be read or written; any other `OSError` counts as a bug in dmx."""


def full(error: BaseException) -> bool:
    """Whether an error means that no space was left; some libraries only say so in the text or in a chained error."""
    before = error.__cause__ or error.__context__
    if isinstance(error, UserError | MachineError):
        return isinstance(error, FullError)  # its cause was considered already: /dev/shm is not a disk
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL
    return any(f"os error {number})" in str(error) for number in FULL) or (before is not None and full(before))


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a configuration: `where` it is (a dotted path) and `what` is wrong."""

    where: str
    what: str

    def __str__(self) -> str:
        return shortened(f"{self.where}: {self.what}" if self.where else self.what, LONGEST // 2)


def last_line(said: str) -> str:
    """What a process that failed has said last, on its standard error."""
    return (said.strip().splitlines() or ["no message"])[-1]


class ConfigError(UserError):
    """Every problem of one configuration, in one message."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        noun = "problem" if len(self.problems) == 1 else "problems"
        text = f"{shortened(source, LONGEST // 4)} has {len(self.problems)} {noun}:"
        for at, problem in enumerate(self.problems):
            line = f"\n  {problem}"
            if at and len(text) + len(line) > LONGEST - len("\n  and 1,000,000 more"):
                text += f"\n  and {len(self.problems) - at:,} more"
                break
            text += line
        super().__init__(text)


def did_you_mean(word: str, known: Iterable[str], most: int = 1) -> str:
    """List the known words and propose those that are similar, or else have this one in them.

    Args:
        word: What is not known.
        known: What is.
        most: The greatest number of words to propose.

    >>> did_you_mean("unte", ["unet", "fpn"])
    "did you mean 'unet'? Known: fpn, unet"
    >>> did_you_mean("nyu", ["nyuv2-1f2e3d4c", "nyuv2-5a6b7c8d", "demo"], most=3)
    "did you mean 'nyuv2-1f2e3d4c' or 'nyuv2-5a6b7c8d'? Known: demo, nyuv2-1f2e3d4c, nyuv2-5a6b7c8d"
    """
    names, low = sorted(known), word.lower()
    same = [name for name in names if name.lower() == low]
    close = same or get_close_matches(word, names, n=most)
    if not close and len(low) > 1:
        having = (name for name in names if low in name.lower())
        close = sorted(having, key=lambda name: not name.lower().startswith(low))
    listing = f"Known: {_listed(names)}" if names else "there is none"
    proposed = " or ".join(f"'{name}'" for name in close[:most])
    return f"did you mean {proposed}? {listing}" if close else listing


def _listed(names: Sequence[str]) -> str:
    """Join the names, up to a readable length."""
    shown, room = 1, LONGEST_LIST - len(names[0])
    while shown < len(names) and (room := room - len(names[shown]) - 2) > 0:
        shown += 1
    more = f", and {len(names) - shown:,} more" if shown < len(names) else ""
    return ", ".join(names[:shown]) + more
