"""The options that a caller passes to a run beside its configuration: a progress observer and limits."""

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
        """One more step; `loss` is None for steps whose loss is not read from the device."""

    def epoch(self, epoch: int, epochs: int, values: Mapping[str, float | None]) -> None:
        """An epoch (counted from 1) ended with these validation metrics."""


class Silent(Progress):
    """Observes nothing."""


def never(epoch: int, metrics: Mapping[str, float | None]) -> str:
    """Prune no run, whatever its metrics."""
    return ""


@dataclass(frozen=True)
class RunOptions:
    """The options that a caller passes to a run beside its configuration.

    Attributes:
        progress: Observes the run.
        report: Called with the epoch (counted from 1) and all metrics after each validation in which the objective has
            a value; returns why the run is to be pruned, or an empty string.
        seconds: Time limit of the training, summed over all starts; None: no limit.
        resume_past_epoch: Resume a run that was pruned at this epoch or before.
        required_metrics: Metrics that must have a value at the best epoch, beside the objective.
    """

    progress: Progress = field(default_factory=Silent)
    report: Callable[[int, Mapping[str, float | None]], str] = never
    seconds: float | None = None
    resume_past_epoch: int = 0
    required_metrics: Sequence[str] = ()
