"""What the caller of a run gives it beside its configuration: an observer of its progress, and limits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Observes a run: the command line draws bars, a worker sends events."""

    def loading(self, done: int, total: int) -> None:
        """`done` of `total` samples are in memory."""

    def start(self, done: int, total: int) -> None:
        """The run is at step `done` of `total`."""

    def step(self, samples: int, loss: float | None) -> None:
        """One more step, with its loss where it was looked at."""

    def epoch(self, epoch: int, epochs: int, values: Mapping[str, float | None]) -> None:
        """An epoch (counted from 1) ended in these validation metrics."""


class Silent:
    """Observes nothing."""

    def loading(self, done: int, total: int) -> None:
        """See `Progress`."""

    def start(self, done: int, total: int) -> None:
        """See `Progress`."""

    def step(self, samples: int, loss: float | None) -> None:
        """See `Progress`."""

    def epoch(self, epoch: int, epochs: int, values: Mapping[str, float | None]) -> None:
        """See `Progress`."""


def never(epoch: int, metrics: Mapping[str, float | None]) -> str:
    """Prune no run, whatever its metrics."""
    return ""


@dataclass(frozen=True)
class RunOptions:
    """What the caller of a run decides beside its configuration.

    Attributes:
        progress: Observes the run.
        report: Called with the epoch (counted from 1) and all metrics after each validation in which the objective has
            a value; returns why the run is to be pruned, or an empty text.
        seconds: How long the run may train, over every start; None: without a limit.
        resume_past_epoch: Resume a run that was pruned at this epoch or before.
        required_metrics: Metrics that the best epoch must have a value of, beside the objective.
    """

    progress: Progress = field(default_factory=Silent)
    report: Callable[[int, Mapping[str, float | None]], str] = never
    seconds: float | None = None
    resume_past_epoch: int = 0
    required_metrics: Sequence[str] = ()
