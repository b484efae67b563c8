"""Keeps a number of workers on a study: replaces those that die, and gives their trials to the next."""

import signal
import time
from dataclasses import dataclass, field
from math import inf
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

from dmx.errors import UserError
from dmx.machine import interrupt
from dmx.outcome import Outcome
from dmx.sweep.claims import unique
from dmx.sweep.engine import GOES_ON, Ready
from dmx.sweep.known import note_death, note_overdue
from dmx.sweep.process import DONE, INTERRUPTED, MISTAKE, REPLACE, Job, main
from dmx.sweep.watcher import Watcher
from dmx.tracking.process import feeder
from dmx.training.result import RunResult

FAILURES = (Outcome.CRASHED, Outcome.OUT_OF_MEMORY, Outcome.TIMED_OUT)
"""Outcomes that speak of the machine or the code; divergence speaks of the values tried."""
TICK = 0.25
"""Seconds between two looks at the clock."""
GRACE = 60.0
"""Seconds that a worker has to finish its step and to save, before it is ended: a step may never come."""


@dataclass
class Running:
    """A worker's process.

    Attributes:
        pipe: What it says.
        leash: Closed when this process is gone; then it ends too.
        owner: The name by which it claims trials.
        trial: Which trial it has said that it has.
        until: When its trial has to have ended, by `time.monotonic`.
    """

    process: BaseProcess
    pipe: Connection
    leash: Connection
    owner: str
    trial: int | None = None
    until: float = inf

    def interrupt(self) -> None:
        """Have it finish its step, save, and end."""
        if self.process.pid is not None and self.process.is_alive():
            interrupt(self.process.pid)


@dataclass
class Slot:
    """A place for one worker, who has it now, and whether the last who had it found nothing more to do."""

    number: int
    job: Job
    watcher: Watcher
    worker: Running | None = None
    done: bool = False

    def start(self, context: BaseContext) -> None:
        """Put a new worker here."""
        pipe, theirs = context.Pipe(duplex=False)
        end, leash = context.Pipe(duplex=False)
        owner = unique()
        process: BaseProcess = context.Process(  # type: ignore[attr-defined]  # every context has it, the base does not
            target=main, args=(theirs, end, self.job, owner)
        )
        process.start()
        theirs.close()
        end.close()
        self.worker = Running(process, pipe, leash, owner)


@dataclass
class Supervisor:
    """Supervises one study.

    Attributes:
        until: When to stop, by `time.monotonic`.
    """

    study: Ready
    slots: list[Slot]
    context: BaseContext
    until: float
    stopped: str = field(default="", init=False)
    mistake: str = field(default="", init=False)
    failures: int = field(default=0, init=False)
    interrupts: int = field(default=0, init=False)
    runs: set[str] = field(default_factory=set, init=False)
    left: int = field(default=0, init=False)
    looked: float = field(default=-1.0, init=False)
    leave: float = field(default=inf, init=False)

    def run(self) -> str:
        """Supervise to the end; gives why it was stopped before it.

        Raises:
            UserError: A worker met a mistake that every trial would meet.
        """
        before = {number: signal.signal(number, self._interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while self._staffed():
                self._listen()
                self._mind_the_clock(time.monotonic())
        finally:
            for worker in self._workers():
                worker.process.kill()
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.mistake:
            raise UserError(self.mistake)
        return self.stopped

    def _mind_the_clock(self, now: float) -> None:
        """Stop when the time is up; end whoever does not stop, and whose trial is beyond its own time."""
        if now > self.until and not self.stopped:
            self._stop("the time is up; " + GOES_ON)
        for worker in self._workers():
            if worker.trial is not None and now > worker.until and worker.process.is_alive():
                note_overdue(self.study.claims, worker.trial, self.study.config.trial_timeout or 0.0)
            if now > min(worker.until, self.leave):
                worker.process.kill()

    def _staffed(self) -> bool:
        """Whether anybody still works; whoever is missing is replaced."""
        self._look()
        for slot in self.slots:
            if slot.worker is None and not slot.done and not self.stopped and len(self._workers()) < self.left:
                slot.start(self.context)
        return bool(self._workers())

    def _workers(self) -> list[Running]:
        return [slot.worker for slot in self.slots if slot.worker is not None]

    def _look(self) -> None:
        """See how many trials are left."""
        now = time.monotonic()
        if now < self.looked + 1:
            return
        self.looked = now
        self.left = self.study.config.trials - self.study.claims.finished()

    def _listen(self) -> None:
        """Take in what workers say, and see who has ended."""
        found = set(connection.wait([end for w in self._workers() for end in (w.pipe, w.process.sentinel)], TICK))
        for slot in self.slots:
            if slot.worker is not None and {slot.worker.pipe, slot.worker.process.sentinel} & found:
                self._hear(slot, slot.worker)
                if slot.worker.process.sentinel in found:
                    self._ended(slot, slot.worker)

    def _hear(self, slot: Slot, worker: Running) -> None:
        """Take in all that lies in a worker's pipe; a message that was cut off in the middle is nothing."""
        try:
            while worker.pipe.poll():
                what, *rest = worker.pipe.recv()
                self._take(slot, worker, what, rest)
        except (EOFError, OSError):
            return

    def _take(self, slot: Slot, worker: Running, what: str, rest: list[Any]) -> None:
        home = self.study.home
        match what:
            case "open":
                self.runs.add(rest[0])
                feeder().open(home, rest[0])
            case "finish":
                feeder().finish(home, rest[0], 0.0)  # not waited for: the study's own run is, which comes last
            case "mistake":
                self.mistake = rest[0]
                self._stop(rest[0])
            case _:
                getattr(slot.watcher, what)(*rest)
        if what == "claimed":
            worker.trial = rest[0]
        elif what == "start" and self.study.config.trial_timeout is not None:
            worker.until = time.monotonic() + self.study.config.trial_timeout + GRACE
        elif what in ("held", "told"):
            worker.trial, worker.until = None, inf
            self._count(rest[1])

    def _count(self, result: RunResult) -> None:
        """Put a trial's end on record; too many failures in a row end the sweep."""
        self.study.note()
        self._failed(result.outcome in FAILURES, f"{result.outcome}: {result.reason}")

    def _failed(self, failed: bool, reason: str) -> None:
        self.failures = self.failures + 1 if failed else 0
        if self.failures >= self.study.config.max_failures and not self.stopped:
            self._stop(f"{self.failures} failures in a row, the last {reason}")

    def _ended(self, slot: Slot, worker: Running) -> None:
        """A worker's process is gone; its trial is for the next."""
        worker.process.join()
        code = worker.process.exitcode
        died = code not in (DONE, MISTAKE, REPLACE, INTERRUPTED)
        if died:
            if worker.trial is not None:
                note_death(self.study.claims, self.study.home, worker.trial)  # dying again and again, it is given up
            self.study.claims.release(worker.owner)
        slot.worker, slot.done = None, code == DONE
        if died and worker.trial is None and not self.stopped:
            what = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
            self._failed(True, f"worker {slot.number} ended by {what}; see {slot.job.log}")
        worker.pipe.close()
        worker.leash.close()

    def _stop(self, reason: str) -> None:
        """Have every worker finish its step, save, and end."""
        self.stopped, self.leave = reason, time.monotonic() + GRACE
        for worker in self._workers():
            worker.interrupt()

    def _interrupt(self, number: int, frame: object) -> None:
        """First workers finish their step, the second time they leave it, the third time all is left as it is."""
        self.interrupts += 1
        self.stopped = self.stopped or GOES_ON
        self.leave = min(self.leave, time.monotonic() + GRACE)
        for worker in self._workers():
            worker.interrupt() if self.interrupts < 3 else worker.process.kill()
        if self.interrupts >= 3:  # whatever this process waits for itself
            raise KeyboardInterrupt
