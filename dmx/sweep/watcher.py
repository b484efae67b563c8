"""What a sweep tells whoever watches it."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from dmx.training.progress import Progress
from dmx.training.result import RunResult


@runtime_checkable
class Watcher(Progress, Protocol):
    """Someone who watches a sweep."""

    def claimed(self, number: int) -> None:
        """Trial `number` is about to begin, or to go on."""

    def trial(self, number: int, trials: int, values: Mapping[str, Any]) -> None:
        """Trial `number` of `trials` begins, or goes on, with these values."""

    def held(self, number: int, result: RunResult) -> None:
        """Trial `number` waits: it goes on should it be among the best when more have come as far."""

    def told(self, number: int, result: RunResult) -> None:
        """Trial `number` has ended."""
