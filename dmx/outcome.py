"""How a run ended."""

from enum import StrEnum


class Outcome(StrEnum):
    """The one outcome of a run; the value is what people read in tags and tables."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    """The study ended the trial early: by its pruner, at a rung, or before its first step as beyond the study's limits.

    A trial that is paused at a rung has this outcome, too, until it is promoted; Optuna has it as waiting.
    """
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out-of-memory"
    TIMED_OUT = "timed-out"
    CRASHED = "crashed"
    UNDEFINED = "undefined"
    INTERRUPTED = "interrupted"
