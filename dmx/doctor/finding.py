"""One thing that was looked at."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Whether something is as it should be."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        section: What it is part of: packages, devices, machine, stores, data, environment.
        state: Whether it is as it should be.
        what: The thing and what was found.
        advice: What to do about it; empty if nothing.
    """

    section: str
    state: State
    what: str
    advice: str = ""


def ok(section: str, what: str) -> Finding:
    """Something as it should be."""
    return Finding(section, State.OK, what)


def warning(section: str, what: str, advice: str) -> Finding:
    """Something that may be meant."""
    return Finding(section, State.WARNING, what, advice)


def wrong(section: str, what: str, advice: str) -> Finding:
    """Something that has to be mended."""
    return Finding(section, State.WRONG, what, advice)
