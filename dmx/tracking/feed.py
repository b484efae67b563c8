"""The feeder: a thread that carries the journal to the stores, and tries again later when one of them fails."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from itertools import islice

from dmx.tracking import system
from dmx.tracking.journal import Journal, read
from dmx.tracking.store import Store

log = logging.getLogger(__name__)

BATCH = 1000
"""Journal lines between two notes of how far a store is."""
PAUSE = 2.0
"""Seconds between two looks at the journal, and the first wait after a failure."""
LONGEST_PAUSE = 60.0
SYSTEM_EVERY = 10.0
"""Seconds between two looks at processor and memory."""


class Feed:
    """One store's place in the journal.

    Args:
        name: The store's name, for people.
        journal: Where the events come from.
        sent: The byte offset up to which the store is thought to have everything, until it says so itself.
        make: Opens the store.
    """

    def __init__(self, name: str, journal: Journal, sent: int, make: Callable[[], Store]) -> None:
        self.name = name
        self.failures = 0
        self._journal, self._sent, self._make = journal, sent, make
        self._store: Store | None = None
        self._not_before = 0.0

    @property
    def due(self) -> bool:
        """Whether the pause after the last failure is over."""
        return time.monotonic() >= self._not_before

    def unsent(self) -> int:
        """The number of events that the store lacks."""
        return sum(1 for _ in read(self._journal.path, self._sent))

    def pump(self) -> bool:
        """Send one batch; whether anything went through."""
        try:
            store = self._store or self._make()
            self._store, self._sent = store, store.sent
            batch = list(islice(read(self._journal.path, store.sent), BATCH))
            if batch:
                self._journal.sync()  # no store may know more than the disk does
                store.send([event for event, _ in batch], batch[-1][1])
                self._sent = store.sent
        except Exception as error:  # whatever a store or its server may raise: training goes on
            self._fail(error)
            return False
        if self.failures:
            log.warning("%s takes events again.", self.name)
        self.failures = 0
        return bool(batch)

    def close(self) -> None:
        """Let go of the store."""
        try:
            if self._store is not None:
                self._store.close()
        except Exception as error:  # nothing is lost: what the store lacks is sent by the next `sync`
            log.warning("%s could not be closed (%s).", self.name, error)
        self._store = None

    def _fail(self, error: Exception) -> None:
        self.failures += 1
        pause = min(PAUSE * 2 ** (self.failures - 1), LONGEST_PAUSE)
        self._not_before = time.monotonic() + pause
        level = logging.WARNING if self.failures == 1 else logging.DEBUG
        text = " ".join(str(error).split())[:300]
        log.log(level, "%s takes no events now (%s); the journal keeps them and they are sent later.", self.name, text)
        self.close()


class Feeder:
    """Carries one run's journal to its stores until told to drain.

    Args:
        feeds: One for each store.
        measure: Takes note of the system's load, in the journal.
    """

    def __init__(self, feeds: Sequence[Feed], measure: Callable[[dict[str, float]], None]) -> None:
        self._feeds = feeds
        self._measure = measure
        self._draining = threading.Event()
        self._progress = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="dmx-feeder", daemon=True)
        self._thread.start()

    def drain(self, patience: float) -> bool:
        """Send what is left and stop; gives up when nothing goes through for `patience` seconds.

        Returns:
            Whether the thread has ended; if not, a store still holds it, and it ends with the process.
        """
        self._progress = time.monotonic()
        self._draining.set()
        while self._thread.is_alive() and time.monotonic() - self._progress < patience:
            self._thread.join(0.05)
        return not self._thread.is_alive()

    def _work(self) -> None:
        measured = time.monotonic()
        while not self._draining.wait(PAUSE):
            if time.monotonic() - measured >= SYSTEM_EVERY:
                measured = time.monotonic()
                self._measure(system.load())
            for feed in self._feeds:
                self._send_all(feed)
        for feed in self._feeds:
            empty(feed, self._note)
            feed.close()

    def _send_all(self, feed: Feed) -> None:
        while feed.due and feed.pump():
            self._note()

    def _note(self) -> None:
        self._progress = time.monotonic()


def empty(feed: Feed, note: Callable[[], None] = lambda: None) -> None:
    """Send all that is left; a store that was well gets two attempts, one that was down already gets one."""
    allowed = feed.failures + (1 if feed.failures else 2)
    while feed.failures < allowed:
        failures = feed.failures
        if feed.pump():
            note()
        elif feed.failures == failures:
            return
        elif feed.failures < allowed:
            time.sleep(1.0)
