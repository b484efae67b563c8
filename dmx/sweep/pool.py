"""A study's pool of workers: starts them, replaces those that die, and stops them at the time limit.

`WorkerPool` has the main loop. Its subclasses start and stop workers and receive their events: `dmx.sweep.process`
runs workers as processes on this machine, `dmx.sweep.ray_pool` as tasks of a Ray cluster.
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
from dmx.sweep.worker import Worker, count_crash, mark_timed_out
from dmx.tracking.forwarder_client import forwarder
from dmx.tracking.home import Home
from dmx.training.result import RunResult

FAILURES = (Outcome.CRASHED, Outcome.OUT_OF_MEMORY, Outcome.TIMED_OUT)
"""Outcomes that count towards `max_failures`: caused by machine or code. Divergence is caused by the trial's values."""
TICK = 0.25
"""Seconds between two checks of the deadlines."""
GRACE = 60.0
"""Seconds that a worker gets to finish its step and save a checkpoint before it is killed, as a step may hang."""


@dataclass(frozen=True)
class WorkerSpec:
    """The settings of a worker.

    Attributes:
        study: The study's configuration as plain data.
        depth_kind: The kind of depth in its data.
        has_background: Whether its data have backgrounds.
        home: The results folder.
        url: The study's database; None: the journal in `home`.
        gpu: The GPU that it sees; None: those that its pool sees.
        threads: Number of CPU threads.
        log: The file for its output.
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
        """Create the worker, which claims trials as `owner`."""
        config, home = parse_study(self.study, "study"), Home(self.home)
        trials = open_queue(config, home.study(config.name), self.url, owner)
        return Worker(config, home, trials, build_space(config, self.depth_kind, self.has_background), observer)


@dataclass
class RunningWorker:
    """A worker as its pool sees it.

    Attributes:
        handle: The process or Ray task that the pool starts, interrupts and kills.
        owner: The name by which it claims trials.
        trial: The trial that it has claimed.
        deadline: The trial's deadline, by `time.monotonic`.
    """

    handle: Any
    owner: str
    trial: int | None = None
    deadline: float = inf


@dataclass
class WorkerSlot:
    """A slot for one worker at a time; its observer receives the events of each."""

    number: int
    spec: WorkerSpec
    observer: SweepObserver
    worker: RunningWorker | None = None


@dataclass
class WorkerPool(ABC):
    """Runs the trials of one study.

    Attributes:
        observers: Creates the observer of each worker from its number.
        workers: Number of workers; None: `per_device` for each GPU, or one without GPUs.
        per_device: How many workers share a GPU.
        url: The study's database; None: a journal in the results folder.
        timeout: Seconds after which the sweep stops.
        on_start: Called with the status of the study before the first worker starts.
        artifacts: Creates the files that are logged to the study's own run when all trials have finished.
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
        """Prepare to start workers; return the GPU of each, None if it is not assigned one."""

    @abstractmethod
    def _start(self, slot: WorkerSlot, owner: str) -> Any:
        """Start a worker and return its handle."""

    @abstractmethod
    def _receive(self, timeout: float) -> Iterator[tuple[WorkerSlot, Event]]:
        """Yield the workers' events, waiting up to `timeout` seconds; the last event of each is `WorkerExited`."""

    @abstractmethod
    def _interrupt(self, handle: Any) -> None:
        """Ask a worker to finish its step, save a checkpoint and exit; may be called from a signal handler."""

    @abstractmethod
    def _kill(self, handle: Any) -> None:
        """Kill a worker."""

    def _close(self) -> None:  # noqa: B027  # most pools have nothing to close
        """Release the resources that `_prepare` acquired."""

    def sweep(self, config: StudyConfig, home: Home) -> StudySummary:
        """Run trials until `config.trials` in all have finished.

        Raises:
            UserError: See `prepare_study`; or there are too few GPUs, or every trial would fail.
        """
        gpus = self._prepare(config)
        with prepare_study(config, home, self.url) as study:
            return study if isinstance(study, StudySummary) else self._run(study, gpus)

    def join(self, name: str, home: Home) -> StudySummary:
        """Run trials of a study that was started on another machine, until all have finished.

        Raises:
            UserError: See `join_study` and `sweep`.
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
        send_unsent(study.queue, study.home)  # of trials that finished while MLflow was unreachable
        summary = study.close(self.stopped, self.runs, self.artifacts)
        return replace(summary, failed=self.failures >= study.config.max_failures)

    def _spec(self, number: int, count: int, gpu: str | None) -> WorkerSpec:
        study = self.study
        return WorkerSpec(
            study=study.config.dump(),
            depth_kind=study.index.depth.kind,
            has_background=study.index.has_background,
            home=study.home.root.resolve(),
            url=self.url,
            gpu=gpu,
            threads=max(1, torch.get_num_threads() // count),  # which OMP_NUM_THREADS bounds
            log=study.home.study(study.config.name) / f"worker-{socket.gethostname()}-{number}.log",
        )

    def _supervise(self) -> None:
        """The main loop: start workers, handle their events and check deadlines until no worker is left.

        Raises:
            UserError: A worker met an error that every trial would raise.
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
        """Handle SIGINT and SIGTERM while the loop runs."""
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
        """Start workers in free slots while there are trials for them; return whether any worker runs."""
        self._count_left()
        for slot in self.slots:
            if slot.worker is None and not self.stopped and len(self._running()) < self.left:
                owner = new_owner()
                slot.worker = RunningWorker(self._start(slot, owner), owner)
        return bool(self._running())

    def _running(self) -> list[RunningWorker]:
        return [slot.worker for slot in self.slots if slot.worker is not None]

    def _count_left(self) -> None:
        """Count the remaining trials, at most once a second."""
        now = time.monotonic()
        if now > self.counted + 1:
            self.counted = now
            self.left = self.study.config.trials - self.study.queue.finished()

    def _handle(self, slot: WorkerSlot, event: Event) -> None:
        """Handle an event and notify the observer."""
        with suppress(OSError):  # the terminal may be closed
            notify(slot.observer, event)
        worker, config = slot.worker, self.study.config
        assert worker is not None
        match event:
            case RunOpened(run_id):
                forwarder().open(self.study.home, run_id)
            case RunFinished(run_id):
                forwarder().finish(self.study.home, run_id, 0.0)  # wait only for the study's own run, at the end
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
        """Log the study's status, and stop the sweep after too many failures in a row."""
        with suppress(OSError):  # the disk may be full, which the workers report
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
        """Free the slot; requeue the trial of a worker that died."""
        if event.died and worker.trial is not None and not self.stopped:
            count_crash(self.study.queue, self.study.home, worker.trial)  # too many deaths end it as crashed
        if event.died or worker.trial is not None:
            self.study.queue.release(worker.owner)
        slot.worker, self.counted = None, -inf
        if event.died and worker.trial is None and not self.stopped:
            self._count_failure(event.reason)

    def _check_deadlines(self, now: float, until: float) -> None:
        """Stop at the time limit; kill workers that do not stop, and those whose trial exceeds its own time limit."""
        if now > until and not self.stopped:
            self._stop("the time is up; " + RESUMABLE)
        if any(now > worker.deadline for worker in self._running()):
            for slot, event in self._receive(0.0):  # it may have exited while the pool waited for the database
                self._handle(slot, event)
        for worker in self._running():
            if now > worker.deadline and worker.trial is not None:
                mark_timed_out(self.study.queue, worker.trial, self.study.config.trial_timeout or 0.0)
            if now > min(worker.deadline, self.kill_at):
                self._kill(worker.handle)

    def _stop(self, reason: str) -> None:
        """Ask every worker to finish its step, save a checkpoint and exit."""
        self.stopped, self.kill_at = reason, time.monotonic() + GRACE
        for worker in self._running():
            self._interrupt(worker.handle)
