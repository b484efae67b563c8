"""A pool of workers on a study: it starts them, replaces those that die, and ends them when the time is up.

`WorkerPool` has the loop. Its subclasses start and end the workers and receive their events: `dmx.sweep.process` has
workers in processes on this machine, `dmx.sweep.ray_pool` in tasks of a Ray cluster.
"""

import signal
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any

import torch

from dmx.config import StudyConfig, parse_study
from dmx.config.space import build_space
from dmx.errors import UserError
from dmx.outcome import Outcome
from dmx.sweep.events import (
    Event,
    FatalError,
    RunFinished,
    RunOpened,
    SweepObserver,
    TrainingStarted,
    TrialClaimed,
    TrialFinished,
    TrialPaused,
    WorkerExited,
    notify,
)
from dmx.sweep.study import (
    RESUMABLE,
    Artifacts,
    PreparedStudy,
    StudyStatus,
    StudySummary,
    join_study,
    prepare_study,
    send_unsent,
    study_status,
)
from dmx.sweep.trial_queue import new_owner, open_queue, trial_run_id
from dmx.sweep.worker import Worker, record_death, record_overdue
from dmx.tracking.forwarder_client import forwarder
from dmx.tracking.home import Home
from dmx.training.result import RunResult

FAILURES = (Outcome.CRASHED, Outcome.OUT_OF_MEMORY, Outcome.TIMED_OUT)
"""Outcomes caused by machine or code, which count towards `max_failures`; divergence is caused by the values."""
TICK = 0.25
"""Seconds between two looks at the clock."""
GRACE = 60.0
"""Seconds that a worker has to finish its step and to save before it is killed: a step may never end."""


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker needs to know.

    Attributes:
        study: The study's configuration as plain data.
        depth_kind: The kind of depth in its data.
        has_background: Whether its data have backgrounds.
        home: Where results are.
        url: The study's database; None: the journal in `home`.
        gpu: The GPU that it sees; None: those that its pool sees.
        threads: How many threads it computes with.
        log: Where its output goes.
    """

    study: dict[str, Any]
    depth_kind: str
    has_background: bool
    home: Path
    url: str | None
    gpu: str | None
    threads: int
    log: Path

    def worker(self, owner: str, observer: SweepObserver) -> Worker:
        """The worker that claims trials as `owner`."""
        config, home = parse_study(self.study, "study"), Home(self.home)
        trials = open_queue(config, home.study(config.name), self.url, owner)
        return Worker(config, home, trials, build_space(config, self.depth_kind, self.has_background), observer)


@dataclass
class RunningWorker:
    """A worker as its pool sees it.

    Attributes:
        handle: What the pool starts, interrupts and kills: a process, a task.
        owner: The name by which it claims trials.
        trial: The trial that it has claimed.
        deadline: When that has to have ended, by `time.monotonic`.
    """

    handle: Any
    owner: str
    trial: int | None = None
    deadline: float = inf


@dataclass
class WorkerSlot:
    """A place for one worker at a time; the observer receives the events of each."""

    number: int
    spec: WorkerSpec
    observer: SweepObserver
    worker: RunningWorker | None = None


@dataclass
class WorkerPool(ABC):
    """Runs the trials of one study.

    Attributes:
        observers: Makes the observer of each worker, by its number.
        workers: How many; None: one for each place on a GPU, or one.
        per_device: How many of them share a GPU.
        url: The study's database; None: a journal in the results' home.
        timeout: Seconds after which the sweep stops.
        on_start: Called with the status of the study before the first worker starts.
        artifacts: Makes the files that are kept with the study's own run when all trials have finished.
    """

    observers: Callable[[int], SweepObserver]
    workers: int | None = None
    per_device: int = 1
    url: str | None = None
    timeout: float = inf
    on_start: Callable[[StudyStatus], None] = lambda status: None
    artifacts: Artifacts = lambda config, queue: ()
    study: PreparedStudy = field(init=False)
    slots: list[WorkerSlot] = field(default_factory=list, init=False)
    runs: set[str] = field(default_factory=set, init=False)
    stopped: str = field(default="", init=False)
    error: str = field(default="", init=False)
    failures: int = field(default=0, init=False)
    interrupts: int = field(default=0, init=False)
    left: int = field(default=0, init=False)
    counted: float = field(default=-inf, init=False)
    kill_at: float = field(default=inf, init=False)

    @abstractmethod
    def _prepare(self, config: StudyConfig) -> list[str | None]:
        """Get ready to start workers; the GPU of each, None where it is not given one."""

    @abstractmethod
    def _start(self, slot: WorkerSlot, owner: str) -> Any:
        """Start a worker; its handle."""

    @abstractmethod
    def _receive(self, timeout: float) -> Iterator[tuple[WorkerSlot, Event]]:
        """Wait for events of the workers; the last event of each is `WorkerExited`."""

    @abstractmethod
    def _interrupt(self, handle: Any) -> None:
        """Have a worker finish its step, save, and end; from a signal handler, too."""

    @abstractmethod
    def _kill(self, handle: Any) -> None:
        """End a worker at once."""

    def _close(self) -> None:  # noqa: B027  # most pools have nothing to close
        """Release the resources that `_prepare` acquired."""

    def sweep(self, config: StudyConfig, home: Home) -> StudySummary:
        """Run trials until `config.trials` in all have finished.

        Raises:
            UserError: As `prepare_study`; there are too few GPUs; or every trial would fail.
        """
        gpus = self._prepare(config)
        with prepare_study(config, home, self.url) as study:
            return study if isinstance(study, StudySummary) else self._run(study, gpus)

    def join(self, name: str, home: Home) -> StudySummary:
        """Run trials of a study that was begun elsewhere, until all have finished.

        Raises:
            UserError: As `join_study`, and as `sweep`.
        """
        assert self.url is not None
        study = join_study(name, home, self.url)
        return self._run(study, self._prepare(study.config))

    def _run(self, study: PreparedStudy, gpus: list[str | None]) -> StudySummary:
        self.study = study
        self.on_start(study_status(study.queue))
        self.slots = [
            WorkerSlot(number, self._spec(number, len(gpus), gpu), self.observers(number))
            for number, gpu in enumerate(gpus)
        ]
        try:
            self._supervise()
        except UserError as error:
            with suppress(OSError):  # the disk may be full
                study.close(str(error), ())
            raise
        send_unsent(study.queue, study.home)  # of trials that finished while MLflow was away
        summary = study.close(self.stopped, self.runs, self.artifacts)
        return replace(summary, failed=self.failures >= study.config.max_failures)

    def _spec(self, number: int, count: int, gpu: str | None) -> WorkerSpec:
        study = self.study
        return WorkerSpec(
            study=study.config.dump(),
            depth_kind=study.depth_kind,
            has_background=study.has_background,
            home=study.home.root.resolve(),
            url=self.url,
            gpu=gpu,
            threads=max(1, torch.get_num_threads() // count),  # which OMP_NUM_THREADS bounds
            log=study.home.study(study.config.name) / f"worker-{socket.gethostname()}-{number}.log",
        )

    def _supervise(self) -> None:
        """The loop: start workers, handle their events, keep the deadlines, until no worker is left.

        Raises:
            UserError: A worker met a mistake that every trial would meet.
        """
        until = time.monotonic() + self.timeout
        with self._signals():
            try:
                while self._start_missing():
                    for slot, event in self._receive(TICK):
                        self._handle(slot, event)
                    self._check_deadlines(time.monotonic(), until)
            finally:
                for worker in self._running():
                    self._kill(worker.handle)
                self._close()
        if self.error:
            raise UserError(self.error)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Handle ctrl-C and a request to end while the loop runs."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: object) -> None:
        """The first signal lets workers finish their step, the second aborts it, the third kills them."""
        self.interrupts += 1
        self.stopped = self.stopped or RESUMABLE
        self.kill_at = min(self.kill_at, time.monotonic() + GRACE)
        for worker in self._running():
            (self._interrupt if self.interrupts < 3 else self._kill)(worker.handle)
        if self.interrupts >= 3:  # whatever this process itself waits for
            raise KeyboardInterrupt

    def _start_missing(self) -> bool:
        """Start workers in free slots as long as there are trials for them; whether any worker runs."""
        self._count_left()
        for slot in self.slots:
            if slot.worker is None and not self.stopped and len(self._running()) < self.left:
                owner = new_owner()
                slot.worker = RunningWorker(self._start(slot, owner), owner)
        return bool(self._running())

    def _running(self) -> list[RunningWorker]:
        return [slot.worker for slot in self.slots if slot.worker is not None]

    def _count_left(self) -> None:
        """Count the trials that are left, once a second."""
        now = time.monotonic()
        if now > self.counted + 1:
            self.counted = now
            self.left = self.study.config.trials - self.study.queue.finished()

    def _handle(self, slot: WorkerSlot, event: Event) -> None:
        """Handle an event and notify the observer."""
        with suppress(OSError):  # the terminal may be gone
            notify(slot.observer, event)
        worker, config = slot.worker, self.study.config
        assert worker is not None
        match event:
            case RunOpened(run_id):
                forwarder().open(self.study.home, run_id)
            case RunFinished(run_id):
                forwarder().finish(self.study.home, run_id, 0.0)  # only the study's own run, the last, is waited for
            case TrialClaimed(number):
                worker.trial, worker.deadline = number, inf
                self.runs.add(trial_run_id(config.name, number))
            case TrainingStarted() if config.trial_timeout is not None:
                worker.deadline = time.monotonic() + config.trial_timeout + GRACE
            case TrialPaused(_, result) | TrialFinished(_, result):
                worker.trial, worker.deadline = None, inf
                self._trial_ended(result)
            case FatalError(message):
                self.error = message
                self._stop(message)
            case WorkerExited():
                self._worker_exited(slot, worker, event)

    def _trial_ended(self, result: RunResult) -> None:
        """Log the study's status; too many failures in a row stop the sweep."""
        with suppress(OSError):  # the disk may be full, of which the workers tell
            self.study.log_status()
        if result.outcome in FAILURES:
            self._count_failure(f"{result.outcome}: {result.reason}")
        else:
            self.failures = 0

    def _count_failure(self, reason: str) -> None:
        self.failures += 1
        if self.failures >= self.study.config.max_failures and not self.stopped:
            self._stop(f"{self.failures} failures in a row, the last {reason}")

    def _worker_exited(self, slot: WorkerSlot, worker: RunningWorker, event: WorkerExited) -> None:
        """Free the slot; the trial of a worker that died is for the next worker."""
        if event.died and worker.trial is not None and not self.stopped:
            record_death(self.study.queue, self.study.home, worker.trial)  # after too many the trial has crashed
        if event.died or worker.trial is not None:
            self.study.queue.release(worker.owner)
        slot.worker, self.counted = None, -inf
        if event.died and worker.trial is None and not self.stopped:
            self._count_failure(event.reason)

    def _check_deadlines(self, now: float, until: float) -> None:
        """Stop when the time is up; kill workers that do not stop, and those whose trial is beyond its own time."""
        if now > until and not self.stopped:
            self._stop("the time is up; " + RESUMABLE)
        if any(now > worker.deadline for worker in self._running()):
            for slot, event in self._receive(0.0):  # it may have ended while this process waited for the database
                self._handle(slot, event)
        for worker in self._running():
            if now > worker.deadline and worker.trial is not None:
                record_overdue(self.study.queue, worker.trial, self.study.config.trial_timeout or 0.0)
            if now > min(worker.deadline, self.kill_at):
                self._kill(worker.handle)

    def _stop(self, reason: str) -> None:
        """Have every worker finish its step, save, and end."""
        self.stopped, self.kill_at = reason, time.monotonic() + GRACE
        for worker in self._running():
            self._interrupt(worker.handle)
