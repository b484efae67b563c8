"""Keeps a number of workers on a study: replaces those that die, and gives their trials to the next."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import connection, forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

from dmx.config import StudyConfig
from dmx.errors import UserError
from dmx.outcome import Outcome
from dmx.registry import models
from dmx.registry.catalogue import OURS
from dmx.sweep.claims import unique
from dmx.sweep.engine import GOES_ON, Ready
from dmx.sweep.known import note_death
from dmx.sweep.process import DONE, INTERRUPTED, MISTAKE, REPLACE, Job, main
from dmx.sweep.watcher import Watcher
from dmx.tracking.process import feeder
from dmx.training.result import RunResult

FAILURES = (Outcome.CRASHED, Outcome.OUT_OF_MEMORY, Outcome.TIMED_OUT)
"""Outcomes that speak of the machine or the code; divergence speaks of the values tried."""
TICK = 0.25
"""Seconds between two looks at the clock."""


def server(config: StudyConfig) -> ForkServerContext:
    """The server from which workers are forked, begun: the sooner it is, the sooner it has imported everything.

    Whatever has an optimizer imports `torch._dynamo`, which takes 4 s.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*OURS, *libraries(config), "torch._dynamo", "dmx.sweep.process"])
    forkserver.ensure_running()
    return context


def libraries(config: StudyConfig) -> Iterator[str]:
    """The large libraries that the study's trials will import, which takes up to 12 s."""
    named = config.search.get("model", config.experiment.model.component.name)
    wanted = models if named == "auto" else named if isinstance(named, tuple) else (named,)
    if any(name in models and models[str(name)].function.__module__.startswith("dmx.models.smp") for name in wanted):
        yield "segmentation_models_pytorch"
    if config.experiment.augment.steps:
        yield "kornia" if config.experiment.augment.where == "device" else "albumentations"


@dataclass
class Running:
    """A worker's process.

    Attributes:
        pipe: What it says.
        leash: Closed when this process is gone; then it ends too.
        owner: The name by which it claims trials.
        trial: Which trial it has said that it has.
    """

    process: ForkServerProcess
    pipe: Connection
    leash: Connection
    owner: str
    trial: int | None = None

    def signal(self, number: int) -> None:
        """Pass a signal on."""
        if self.process.pid is not None and self.process.is_alive():
            os.kill(self.process.pid, number)


@dataclass
class Slot:
    """A place for one worker, who has it now, and whether the last who had it found nothing more to do."""

    number: int
    job: Job
    watcher: Watcher
    worker: Running | None = None
    done: bool = False

    def start(self, context: ForkServerContext) -> None:
        """Put a new worker here."""
        pipe, theirs = context.Pipe(duplex=False)
        end, leash = context.Pipe(duplex=False)
        owner = unique()
        process = context.Process(target=main, args=(theirs, end, self.job, owner))
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
    context: ForkServerContext
    until: float
    stopped: str = field(default="", init=False)
    mistake: str = field(default="", init=False)
    failures: int = field(default=0, init=False)
    interrupts: int = field(default=0, init=False)
    runs: set[str] = field(default_factory=set, init=False)
    left: int = field(default=0, init=False)
    looked: float = field(default=-1.0, init=False)

    def run(self) -> str:
        """Supervise to the end; gives why it was stopped before it.

        Raises:
            UserError: A worker met a mistake that every trial would meet.
        """
        before = {number: signal.signal(number, self._interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while self._staffed():
                self._listen()
                if time.monotonic() > self.until and not self.stopped:
                    self._stop("the time is up; " + GOES_ON)
        finally:
            for worker in self._workers():
                worker.signal(signal.SIGKILL)
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.mistake:
            raise UserError(self.mistake)
        return self.stopped

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
        elif what in ("held", "told"):
            worker.trial = None
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
        self.stopped = reason
        for worker in self._workers():
            worker.signal(signal.SIGINT)

    def _interrupt(self, number: int, frame: object) -> None:
        """First workers finish their step, the second time they leave it, the third time all is left as it is."""
        self.interrupts += 1
        self.stopped = self.stopped or GOES_ON
        for worker in self._workers():
            worker.signal(signal.SIGINT if self.interrupts < 3 else signal.SIGKILL)
        if self.interrupts >= 3:  # whatever this process waits for itself
            raise KeyboardInterrupt
