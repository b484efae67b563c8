"""What a run tells whoever watches it."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Someone who watches a run; the command line draws bars, tests and workers are silent."""

    def loading(self, done: int, total: int) -> None:
        """`done` of `total` samples are in memory."""

    def start(self, done: int, total: int) -> None:
        """The run is at step `done` of `total`."""

    def step(self, samples: int, loss: float | None) -> None:
        """One more step, with its loss where it was looked at."""

    def epoch(self, epoch: int, epochs: int, values: Mapping[str, float | None]) -> None:
        """An epoch (counted from 1) ended in these validation metrics."""


class Silent:
    """Nobody watches."""

    def loading(self, done: int, total: int) -> None:
        """See `Progress`."""

    def start(self, done: int, total: int) -> None:
        """See `Progress`."""

    def step(self, samples: int, loss: float | None) -> None:
        """See `Progress`."""

    def epoch(self, epoch: int, epochs: int, values: Mapping[str, float | None]) -> None:
        """See `Progress`."""
