"""What a feed knows of a store."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from dmx.tracking.journal import Event


@runtime_checkable
class Store(Protocol):
    """A replica of the journal. Any exception means: try again later, with a new store, from the same place."""

    @property
    def sent(self) -> int:
        """The journal's byte offset up to which the store has everything."""

    def send(self, events: Sequence[Event], end: int) -> None:
        """Take the events that follow `sent` and reach up to byte `end`; taking one twice changes nothing."""

    def close(self) -> None:
        """Let go of files and connections."""
