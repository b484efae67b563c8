"""Ends of a training that somebody or the clock asks for."""

import signal


class TimedOut(Exception):  # noqa: N818 - not an error
    """The run has used up its time."""


class Interrupted(Exception):  # noqa: N818 - not an error
    """Somebody asked the run to stop."""


class StopOnSignal:
    """Notes SIGINT and SIGTERM while it is entered, so that the loop stops after its step; the second acts at once."""

    caught: str | None = None

    def __enter__(self) -> "StopOnSignal":
        try:
            self.before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not in the main thread, where Python handles no signals
            self.before = {}
        return self

    def _note(self, number: int, frame: object) -> None:
        if self.caught is not None:
            raise KeyboardInterrupt
        self.caught = signal.Signals(number).name

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
