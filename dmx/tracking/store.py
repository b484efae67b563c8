"""What a feed knows of a store."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from dmx.tracking.journal import Event


class RefusedError(Exception):
    """A store said no, and will say it again until somebody does something; the text says what.

    Args:
        text: What is refused, why, and the way out.
        unwanted: Whether somebody removed the run there, so that what the store lacks of it is not missed.
    """

    def __init__(self, text: str, *, unwanted: bool = False) -> None:
        super().__init__(text)
        self.unwanted = unwanted


@runtime_checkable
class Store(Protocol):
    """A replica of the journal. Any exception means: try again later, with a new store, from the same place."""

    @property
    def sent(self) -> int:
        """The journal's byte offset up to which the store has everything; 0 once it turned out to have lost the run."""

    def send(self, events: Sequence[Event], end: int) -> None:
        """Take the events that follow `sent` and reach up to byte `end`; taking one twice changes nothing.

        Raises:
            RefusedError: It is no outage; somebody has to do something.
        """

    def close(self) -> None:
        """Let go of files and connections."""
