"""How a run ended."""

from enum import StrEnum


class Outcome(StrEnum):
    """The one outcome of a run; the value is what people read in tags and tables."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out-of-memory"
    TIMED_OUT = "timed-out"
    CRASHED = "crashed"
    UNDEFINED = "undefined"
    INTERRUPTED = "interrupted"
