"""A worker in a process of its own, forked from a server that has imported everything: it starts in a moment.

It says what happens through a pipe, and is gone when its supervisor is. What it prints goes to a file.
"""

import os
import queue
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import cv2
import psutil
import torch

from dmx.config import parse_study
from dmx.config.space import build_space
from dmx.errors import UserError, full
from dmx.experiment.failures import no_room
from dmx.machine import leave_group
from dmx.sweep.storage import open_claims
from dmx.sweep.worker import Worker
from dmx.tracking.home import Home
from dmx.tracking.process import feed_elsewhere
from dmx.training.result import RunResult

DONE, MISTAKE, REPLACE, INTERRUPTED = 0, 2, 3, 4
"""Exit codes; REPLACE: nothing is wrong, but too much memory has piled up."""
GROWTH = 2 * 1024**3
"""Bytes by which a worker may grow from the end of its first trial on before it is replaced."""


@dataclass(frozen=True)
class Job:
    """What a worker needs to know.

    Attributes:
        study: The study's configuration as plain data.
        kind: The kind of depth in its data.
        has_background: Whether its data have backgrounds.
        home: Where results are.
        url: The database of the study; None: the journal in `home`.
        gpu: Which GPU it sees; None: as the supervisor.
        threads: How many threads it computes with.
        log: Where its output goes.
    """

    study: dict[str, Any]
    kind: str
    has_background: bool
    home: Path
    url: str | None
    gpu: str | None
    threads: int
    log: Path


@runtime_checkable
class Line(Protocol):
    """Where messages go: a pipe, or a queue."""

    def send(self, obj: Any) -> None:
        """Send."""


class Said:
    """Tells the supervisor: a `Watcher` and a `Feeding` whose every call becomes a message.

    A thread sends them: training does not wait for a supervisor that waits for a database.
    """

    def __init__(self, pipe: Line) -> None:
        self._queue: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send, args=(pipe,), daemon=True)
        self._thread.start()

    def _send(self, pipe: Line) -> None:
        with suppress(OSError):  # the supervisor is gone
            while (message := self._queue.get()) is not None:
                pipe.send(message)

    def mistake(self, text: str) -> None:
        """A user's mistake that every trial would meet."""
        self._queue.put(("mistake", text))

    def close(self) -> None:
        """Wait until all is sent."""
        self._queue.put(None)
        self._thread.join(10)

    def loading(self, done: int, total: int) -> None:
        """See `dmx.training.progress.Progress`."""
        self._queue.put(("loading", done, total))

    def start(self, done: int, total: int) -> None:
        """See `dmx.training.progress.Progress`."""
        self._queue.put(("start", done, total))

    def step(self, samples: int, loss: float | None) -> None:
        """See `dmx.training.progress.Progress`."""
        self._queue.put(("step", samples, loss))

    def epoch(self, epoch: int, epochs: int, values: Mapping[str, float | None]) -> None:
        """See `dmx.training.progress.Progress`."""
        self._queue.put(("epoch", epoch, epochs, dict(values)))

    def claimed(self, number: int) -> None:
        """See `dmx.sweep.watcher.Watcher`."""
        self._queue.put(("claimed", number))

    def trial(self, number: int, trials: int, values: Mapping[str, Any]) -> None:
        """See `dmx.sweep.watcher.Watcher`."""
        self._queue.put(("trial", number, trials, dict(values)))

    def held(self, number: int, result: RunResult) -> None:
        """See `dmx.sweep.watcher.Watcher`."""
        self._queue.put(("held", number, result))

    def told(self, number: int, result: RunResult) -> None:
        """See `dmx.sweep.watcher.Watcher`."""
        self._queue.put(("told", number, result))

    def open(self, home: Home, run_id: str) -> None:
        """See `dmx.tracking.process.Feeding`."""
        self._queue.put(("open", run_id))

    def finish(self, home: Home, run_id: str, patience: float) -> None:
        """See `dmx.tracking.process.Feeding`."""
        self._queue.put(("finish", run_id))


def main(pipe: Connection, leash: Connection, job: Job, owner: str) -> None:
    """Work until nothing is left, somebody interrupts, or the supervisor is gone."""
    leave_group()  # ctrl-C reaches the supervisor alone, which passes it on
    threading.Thread(target=end_with, args=(leash,), daemon=True).start()
    redirect(job.log)
    if job.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = job.gpu
    torch.set_num_threads(job.threads)
    cv2.setNumThreads(job.threads)
    said = Said(pipe)
    feed_elsewhere(said)
    try:
        code = work(job, owner, said)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except UserError as error:
        said.mistake(str(error))
        code = MISTAKE
    except BaseException as error:
        code = 1
        with suppress(OSError):
            traceback.print_exc()
        if full(error):
            said.mistake(no_room(error, job.home))
            code = MISTAKE
    said.close()
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(code)  # libraries' threads are not waited for


def work(job: Job, owner: str, said: Said) -> int:
    """Trial after trial; gives the exit code."""
    config, home = parse_study(job.study, "study"), Home(job.home)
    claims = open_claims(config, home.study(config.name), job.url, owner)
    worker = Worker(config, home, claims, build_space(config, job.kind, job.has_background), said)
    process, least = psutil.Process(), None
    for _ in worker.work():
        held = process.memory_info().rss
        least = least or held
        if held > least + GROWTH:
            return REPLACE
    return INTERRUPTED if worker.interrupted else DONE


def end_with(leash: Connection) -> None:
    """A killed supervisor must leave nobody who writes where the next one goes on."""
    try:
        leash.recv()
    except (EOFError, OSError):
        os._exit(1)


def redirect(log: Path) -> None:
    """Send what is printed to the end of a file: the terminal is the supervisor's."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
