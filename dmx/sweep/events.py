"""Events that a worker sends to its pool, and the observer that the pool notifies, such as the table in a terminal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol, runtime_checkable

from dmx.training.progress import Progress
from dmx.training.result import RunResult


@runtime_checkable
class SweepObserver(Progress, Protocol):
    """Observes the trials of one worker."""

    def trial_claimed(self, number: int) -> None:
        """The worker has claimed a trial."""

    def trial_started(self, number: int, trials: int, values: Mapping[str, Any]) -> None:
        """The trial's parameter values are sampled; the study has `trials` trials in all."""

    def trial_paused(self, number: int, result: RunResult) -> None:
        """The trial is paused at a rung and waits to be promoted."""

    def trial_finished(self, number: int, result: RunResult) -> None:
        """The trial has finished."""


OBSERVED = ("loading", "start", "step", "epoch", "trial_claimed", "trial_started", "trial_paused", "trial_finished")
"""The methods of `SweepObserver`."""
FORWARDED = ("open", "finish")
"""The methods of `dmx.tracking.forwarder_client.SupportsForwarding`."""


@dataclass(frozen=True)
class Call:
    """A call in the worker's process, which the pool repeats in its own.

    Attributes:
        method: The name of a method of `SweepObserver` or `SupportsForwarding`.
        args: Its arguments.
    """

    method: str
    args: tuple[Any, ...]


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


Event = Call | FatalError | WorkerExited


def event_sender(send: Callable[[Event], None]) -> Any:
    """A `SweepObserver` and `SupportsForwarding` that sends each call of its methods as an event."""

    def sending(method: str) -> Callable[..., None]:
        # copies of mappings, as they may change before another thread sends the event
        return lambda *args: send(Call(method, tuple(dict(x) if isinstance(x, Mapping) else x for x in args)))

    return SimpleNamespace(**{method: sending(method) for method in (*OBSERVED, *FORWARDED)})
