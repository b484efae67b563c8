"""Workers as processes on this machine: the pool that manages them, and their main function.

They are forked from a server that has already imported the heavy libraries, so that they start quickly. A worker sends
events through a pipe and exits when its pool's process exits. Its output goes to a file.
"""

import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import cv2
import psutil
import torch

from dmx.config import StudyConfig
from dmx.errors import UserError, full
from dmx.experiment.failures import no_room
from dmx.machine import interrupt, leave_group, starting
from dmx.registry import models
from dmx.registry.catalogue import OURS
from dmx.sweep.events import Event, EventSender, FatalError, WorkerExited
from dmx.sweep.pool import WorkerPool, WorkerSlot, WorkerSpec
from dmx.sweep.worker import Worker
from dmx.tracking.forwarder_client import forward_through

DONE, FATAL, REPLACE, INTERRUPTED = 0, 2, 3, 4
"""Exit codes of a worker that did not die; REPLACE: its memory has grown too much."""
GROWTH = 2 * 1024**3
"""Bytes by which a worker's memory may grow after its first trial before it is replaced."""


@dataclass(frozen=True)
class WorkerProcess:
    """A worker's process.

    Attributes:
        pipe: The receiving end of its events.
        lifeline: Closed when this process exits, which makes the worker exit.
    """

    process: BaseProcess
    pipe: Connection
    lifeline: Connection


@dataclass
class ProcessPool(WorkerPool):
    """Workers as processes on this machine, `per_device` on each GPU."""

    context: BaseContext = field(init=False)

    def _prepare(self, config: StudyConfig) -> list[str | None]:
        gpus = self.assigned_gpus(config)
        self.context = worker_server(config)
        return gpus

    def assigned_gpus(self, config: StudyConfig) -> list[str | None]:
        """The GPU of each worker; None if it is not assigned one.

        Raises:
            UserError: There are too few GPUs.
        """
        gpus = visible_gpus(config)
        if not gpus:
            return [None] * (self.workers or 1)
        shares = [gpu for gpu in gpus for _ in range(self.per_device)]
        count = self.workers or len(shares)
        if count > len(shares):
            raise UserError(
                f"{count} workers are too many for {len(gpus)} GPU{'s' * (len(gpus) > 1)} with {self.per_device} on "
                "each; take fewer workers, or raise --trials-per-device."
            )
        return [*shares[:count]]

    def _start(self, slot: WorkerSlot, owner: str) -> WorkerProcess:
        pipe, events = self.context.Pipe(duplex=False)
        end, lifeline = self.context.Pipe(duplex=False)
        process: BaseProcess = self.context.Process(  # type: ignore[attr-defined]  # the base class lacks it
            target=main, args=(events, end, slot.spec, owner)
        )
        process.start()
        events.close()
        end.close()
        return WorkerProcess(process, pipe, lifeline)

    def _receive(self, timeout: float) -> Iterator[tuple[WorkerSlot, Event]]:
        running = [(slot, slot.worker.handle) for slot in self.slots if slot.worker is not None]
        sources = [source for _, worker in running for source in (worker.pipe, worker.process.sentinel)]
        ready = {*connection.wait(sources, timeout)}
        for slot, worker in running:
            if ready & {worker.pipe, worker.process.sentinel}:
                with suppress(EOFError, OSError):  # ignore an event that was cut off
                    while worker.pipe.poll():
                        yield slot, worker.pipe.recv()
                if worker.process.sentinel in ready:
                    yield slot, self._exited(slot, worker)

    def _exited(self, slot: WorkerSlot, worker: WorkerProcess) -> WorkerExited:
        worker.process.join()
        worker.pipe.close()
        worker.lifeline.close()
        code = worker.process.exitcode
        if code in (DONE, FATAL, REPLACE, INTERRUPTED):
            return WorkerExited()
        what = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        return WorkerExited(died=True, reason=f"worker {slot.number} ended by {what}; see {slot.spec.log}")

    def _interrupt(self, handle: WorkerProcess) -> None:
        if handle.process.pid is not None and handle.process.is_alive():
            interrupt(handle.process.pid)

    def _kill(self, handle: WorkerProcess) -> None:
        handle.process.kill()


def visible_gpus(config: StudyConfig) -> list[str]:
    """The GPUs available to trials, as CUDA_VISIBLE_DEVICES names them."""
    if config.experiment.training.device not in ("auto", "cuda") or not torch.cuda.is_available():
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]


class EventThread:
    """Sends events from a thread, so that training is not blocked by a pool that waits for the database."""

    def __init__(self, send: Callable[[Event], None]) -> None:
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(send,), daemon=True)
        self._thread.start()

    def _run(self, send: Callable[[Event], None]) -> None:
        with suppress(OSError):  # the pool's process has exited
            while (event := self._events.get()) is not None:
                send(event)

    def send(self, event: Event) -> None:
        """Queue an event for sending."""
        self._events.put(event)

    def close(self) -> None:
        """Wait until all events are sent."""
        self._events.put(None)
        self._thread.join(10)


def worker_server(config: StudyConfig) -> BaseContext:
    """Start the fork server; start it early, because its imports take seconds."""
    # any optimizer imports torch._dynamo, which takes 4 s
    return starting([*OURS, *libraries(config), "torch._dynamo", "dmx.sweep.process"])


def libraries(config: StudyConfig) -> Iterator[str]:
    """The heavy libraries that the study's trials will import; importing them takes up to 12 s."""
    named = config.search.get("model", config.experiment.model.component.name)
    wanted = models if named == "auto" else named if isinstance(named, tuple) else (named,)
    if any(name in models and models[str(name)].function.__module__.startswith("dmx.models.smp") for name in wanted):
        yield "segmentation_models_pytorch"
    if config.experiment.augment.steps:
        yield "kornia" if config.experiment.augment.where == "device" else "albumentations"


def main(pipe: Connection, lifeline: Connection, spec: WorkerSpec, owner: str) -> None:
    """Run trials until all have finished, the worker is interrupted, or the pool's process exits.

    Args:
        pipe: The sending end for events.
        lifeline: Closed when the pool's process exits.
        spec: The worker's settings.
        owner: The name by which it claims trials.
    """
    leave_group()  # ctrl-C reaches the pool alone, which interrupts its workers
    threading.Thread(target=exit_when_parent_dies, args=(lifeline,), daemon=True).start()
    redirect_output(spec.log)
    if spec.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = spec.gpu
    torch.set_num_threads(spec.threads)
    cv2.setNumThreads(spec.threads)
    events = EventThread(pipe.send)
    sender = EventSender(events.send)
    forward_through(sender)
    try:
        code = run_worker(spec.worker(owner, sender))
    except KeyboardInterrupt:
        code = INTERRUPTED
    except UserError as error:
        events.send(FatalError(str(error)))
        code = FATAL
    except BaseException as error:
        code = 1
        with suppress(OSError):
            traceback.print_exc()
        if full(error):
            events.send(FatalError(no_room(error, spec.home)))
            code = FATAL
    events.close()
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(code)  # does not wait for threads of libraries


def run_worker(worker: Worker) -> int:
    """Run trial after trial.

    Returns:
        The exit code.
    """
    process, least = psutil.Process(), None
    for _ in worker.run_trials():
        used = process.memory_info().rss
        least = least or used
        if used > least + GROWTH:
            return REPLACE
    return INTERRUPTED if worker.interrupted else DONE


def exit_when_parent_dies(lifeline: Connection) -> None:
    """Exit when the pool's process exits, because the next pool's workers will write to the same runs."""
    try:
        lifeline.recv()
    except (EOFError, OSError):
        os._exit(1)


def redirect_output(log: Path) -> None:
    """Redirect stdout and stderr to a file, because the terminal belongs to the pool."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
