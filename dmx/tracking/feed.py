"""One store's place in a journal: what is sent next, and when to try again after a failure."""

import logging
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from dmx.machine import flush
from dmx.tracking.journal import read
from dmx.tracking.mlflow_refusals import misplaced
from dmx.tracking.secrets import without_secrets
from dmx.tracking.store import RefusedError, Store

log = logging.getLogger(__name__)

BATCH = 1000
"""Journal lines between two notes of how far a store is."""
PAUSE = 2.0
"""Seconds between two looks at the journal, and the first wait after a failure."""
LONGEST_PAUSE = 60.0
told: set[str] = set()
"""What stores refused already: many runs may meet the same refusal, and it is told once."""


class Feed:
    """One store's place in a journal.

    Args:
        name: The store's name, for people.
        journal: Where the events come from.
        sent: The byte offset up to which the store is thought to have everything, until it says so itself.
        make: Opens the store; not called before there is something to send.
    """

    def __init__(self, name: str, journal: Path, sent: int, make: Callable[[], Store]) -> None:
        self.name = name
        self.failures = 0
        self.refused = False
        self._journal, self._sent, self._make = journal, sent, make
        self._store: Store | None = None
        self._not_before = 0.0

    @property
    def due(self) -> bool:
        """Whether the pause after the last failure is over."""
        return time.monotonic() >= self._not_before

    def pump(self) -> bool:
        """Send one batch; whether anything went through."""
        try:
            took = self._send_batch()
        except Exception as error:  # whatever a store or its server may raise: training goes on
            self._fail(error)
            return False
        if took and self.failures:
            log.warning("%s takes events again.", self.name)
            self.failures, self.refused = 0, False
        return took

    def empty(self, note: Callable[[], None] = lambda: None) -> None:
        """Send all that is left, with a `note` after each batch.

        A store that was well gets two attempts, one that was down already or refuses gets one.
        """
        allowed = self.failures + (1 if self.failures else 2)
        while self.failures < allowed:
            failures = self.failures
            if self.pump():
                note()
            elif self.failures == failures or self.refused:
                return
            elif self.failures < allowed:
                time.sleep(1.0)

    def close(self) -> None:
        """Let go of the store."""
        try:
            if self._store is not None:
                self._store.close()
        except Exception as error:  # nothing is lost: what the store lacks is sent by the next `sync`
            log.warning("%s could not be closed (%s).", self.name, without_secrets(str(error)))
        self._store = None

    def _send_batch(self) -> bool:
        if self._store is None and self._sent == self._journal.stat().st_size:
            return False
        store = self._store or self._make()
        self._store, self._sent = store, store.sent
        batch = list(islice(read(self._journal, store.sent), BATCH))
        if batch:
            flush(self._journal)  # no store may know more than the disk does
            store.send([event for event, _ in batch], batch[-1][1])
            self._sent = store.sent
        return bool(batch)

    def _fail(self, error: Exception) -> None:
        self.failures += 1
        error = misplaced(error) or error
        pause = min(PAUSE * 2 ** (self.failures - 1), LONGEST_PAUSE)
        self._not_before = time.monotonic() + pause
        text, self.refused = without_secrets(" ".join(str(error).split())), isinstance(error, RefusedError)
        if self.refused:
            level = logging.DEBUG if text in told else logging.WARNING
            told.add(text)
            log.log(level, "%s The journal keeps it all.", text)
        else:
            level = logging.WARNING if self.failures == 1 else logging.DEBUG
            words = "%s takes no events now (%s); the journal keeps them and they are sent later."
            log.log(level, words, self.name, text[:300])
        self.close()
