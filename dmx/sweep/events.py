"""Events that a worker sends to its pool, and the observer that the pool notifies, such as the table in a terminal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from dmx.tracking.home import Home
from dmx.training.progress import Progress
from dmx.training.result import RunResult


@dataclass(frozen=True)
class SamplesLoaded:
    """`done` of `total` samples are loaded into memory."""

    done: int
    total: int


@dataclass(frozen=True)
class TrainingStarted:
    """Training starts or resumes at step `done` of `total`."""

    done: int
    total: int


@dataclass(frozen=True)
class StepDone:
    """One more step."""

    samples: int
    loss: float | None


@dataclass(frozen=True)
class EpochDone:
    """One more epoch, with its validation metrics."""

    epoch: int
    epochs: int
    values: Mapping[str, float | None]


@dataclass(frozen=True)
class TrialClaimed:
    """The worker has claimed a trial."""

    number: int


@dataclass(frozen=True)
class TrialStarted:
    """The trial's parameter values are sampled; the study has `trials` trials in all."""

    number: int
    trials: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class TrialPaused:
    """The trial is paused at a rung and waits to be promoted."""

    number: int
    result: RunResult


@dataclass(frozen=True)
class TrialFinished:
    """The trial has finished."""

    number: int
    result: RunResult


@dataclass(frozen=True)
class RunOpened:
    """Request to forward a run's journal to MLflow and TensorBoard from now on."""

    run_id: str


@dataclass(frozen=True)
class RunFinished:
    """Request to forward the rest of a run's journal."""

    run_id: str


@dataclass(frozen=True)
class FatalError:
    """A user error that every trial would raise."""

    message: str


@dataclass(frozen=True)
class WorkerExited:
    """The worker has exited.

    Attributes:
        died: Whether it exited unexpectedly.
        reason: Why.
    """

    died: bool = False
    reason: str = ""


Event = (
    SamplesLoaded
    | TrainingStarted
    | StepDone
    | EpochDone
    | TrialClaimed
    | TrialStarted
    | TrialPaused
    | TrialFinished
    | RunOpened
    | RunFinished
    | FatalError
    | WorkerExited
)


@runtime_checkable
class SweepObserver(Progress, Protocol):
    """Observes the trials of one worker."""

    def trial_claimed(self, number: int) -> None:
        """See `TrialClaimed`."""

    def trial_started(self, number: int, trials: int, values: Mapping[str, Any]) -> None:
        """See `TrialStarted`."""

    def trial_paused(self, number: int, result: RunResult) -> None:
        """See `TrialPaused`."""

    def trial_finished(self, number: int, result: RunResult) -> None:
        """See `TrialFinished`."""


def notify(observer: SweepObserver, event: Event) -> None:
    """Call the observer's method for an event; events for runs, errors and the worker's exit have none."""
    match event:
        case SamplesLoaded(done, total):
            observer.loading(done, total)
        case TrainingStarted(done, total):
            observer.start(done, total)
        case StepDone(samples, loss):
            observer.step(samples, loss)
        case EpochDone(epoch, epochs, values):
            observer.epoch(epoch, epochs, values)
        case TrialClaimed(number):
            observer.trial_claimed(number)
        case TrialStarted(number, trials, values):
            observer.trial_started(number, trials, values)
        case TrialPaused(number, result):
            observer.trial_paused(number, result)
        case TrialFinished(number, result):
            observer.trial_finished(number, result)
        case RunOpened() | RunFinished() | FatalError() | WorkerExited():
            pass


class EventSender:
    """A `SweepObserver` and `SupportsForwarding` that sends one event per call."""

    def __init__(self, send: Callable[[Event], None]) -> None:
        self.send = send

    def loading(self, done: int, total: int) -> None:
        """See `SamplesLoaded`."""
        self.send(SamplesLoaded(done, total))

    def start(self, done: int, total: int) -> None:
        """See `TrainingStarted`."""
        self.send(TrainingStarted(done, total))

    def step(self, samples: int, loss: float | None) -> None:
        """See `StepDone`."""
        self.send(StepDone(samples, loss))

    def epoch(self, epoch: int, epochs: int, values: Mapping[str, float | None]) -> None:
        """See `EpochDone`."""
        self.send(EpochDone(epoch, epochs, dict(values)))

    def trial_claimed(self, number: int) -> None:
        """See `TrialClaimed`."""
        self.send(TrialClaimed(number))

    def trial_started(self, number: int, trials: int, values: Mapping[str, Any]) -> None:
        """See `TrialStarted`."""
        self.send(TrialStarted(number, trials, dict(values)))

    def trial_paused(self, number: int, result: RunResult) -> None:
        """See `TrialPaused`."""
        self.send(TrialPaused(number, result))

    def trial_finished(self, number: int, result: RunResult) -> None:
        """See `TrialFinished`."""
        self.send(TrialFinished(number, result))

    def open(self, home: Home, run_id: str) -> None:
        """See `RunOpened`."""
        self.send(RunOpened(run_id))

    def finish(self, home: Home, run_id: str, patience: float) -> None:
        """See `RunFinished`."""
        self.send(RunFinished(run_id))
