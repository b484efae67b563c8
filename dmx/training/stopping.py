"""Stopping a training on a signal or at its time limit."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from dmx.errors import MachineError
from dmx.machine import wake
from dmx.training.distributed import world_size

T = TypeVar("T")


class TimedOut(Exception):  # noqa: N818 - not an error
    """The run has reached its time limit."""


class Interrupted(Exception):  # noqa: N818 - not an error
    """A signal asked the run to stop."""


class StopOnSignal:
    """Catches SIGINT and SIGTERM within its context, so that the loop stops after its step; a second one acts at once.

    While the loop waits for a batch, which may never arrive, the first signal or the time limit interrupts the wait.

    Args:
        seconds: Time limit for waits for training batches, from entering the context; None: no limit.
    """

    caught: str | None = None

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = seconds
        self._over = self._woken = False
        self._turn = self._waiting = 0  # the number of the current wait; `_waiting` is 0 outside of a wait
        self._grace: float | None = 0.0

    def __enter__(self) -> "StopOnSignal":
        self._before = {}
        if threading.current_thread() is threading.main_thread():  # only the main thread can handle signals
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
            if self._seconds is not None:
                self._clock = _timer(self._seconds, self._ring)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._before and self._seconds is not None:
            self._clock.cancel()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before and isinstance(error, MachineError) and world_size() > 1:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun sends SIGTERM at once; report the error first

    def waited(self, batches: Iterable[T], grace: float | None = None) -> Iterator[T]:
        """Iterate over `batches` with interruptible waits.

        Args:
            batches: The batches.
            grace: Seconds to wait for a batch after a signal; None: a signal or the time limit ends the wait at once.

        Raises:
            Interrupted: A signal arrived before the batch.
            TimedOut: The time limit was reached before the batch arrived.
        """
        source = iter(batches)
        while True:
            self._turn += 1
            self._grace = grace
            self._waiting = self._turn
            try:
                self._look()
                batch = next(source, None)
            finally:
                self._waiting = 0
            if batch is None:
                return
            yield batch

    def _look(self) -> None:
        """Stop waiting for a batch, now or after the grace period, if a signal or the time limit requires it."""
        if self.caught is not None and self._grace:
            _timer(self._grace, partial(self._wake, self._turn))
        elif self.caught is not None or (self._over and self._grace is None):
            self._leave()

    def _leave(self) -> None:
        if self.caught is not None:
            raise Interrupted(self.caught)
        raise TimedOut

    def _ring(self) -> None:
        self._over = True
        if self._grace is None:
            self._wake(self._waiting)

    def _wake(self, turn: int) -> None:
        """From another thread, make the main thread leave the wait number `turn`, if it is still in it."""
        if turn and turn == self._waiting:
            self._woken = True
            wake()

    def _note(self, number: int, frame: object) -> None:
        if self._woken:
            self._woken = False
            if self._waiting:
                self._leave()
            return
        if self.caught is not None:
            raise KeyboardInterrupt
        self.caught = signal.Signals(number).name
        if self._waiting:
            self._look()


def _timer(seconds: float, call: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(max(0.0, seconds), call)
    timer.daemon = True
    timer.start()
    return timer
