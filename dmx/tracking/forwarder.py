"""The forwarder: a separate process that sends journals to MLflow and TensorBoard during training.

As a separate process it takes neither cores nor the GIL from training. `forwarder_client.py` starts it and speaks JSON
lines. It takes `{"order": "open" | "finish", "home": ..., "run": ...}` and answers `{"finished": run, "home": ...}`
and, while it sends the rest of a journal, `{"sending": run}` after each batch; `{"warning": text}` is for the user. It
exits when the parent closes the pipe or dies.

`Forwarder` has a `RunForwarder` for each open run, which has a `StoreForwarder` for each of the two stores.
"""

import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

import cv2
from filelock import FileLock

from dmx.machine import ENDING, HALTING, flush
from dmx.tracking import mlflow_store, tensorboard_store
from dmx.tracking.home import JOURNAL, Home
from dmx.tracking.journal import Event, read
from dmx.tracking.mlflow_client import PermanentStoreError, unwritable_location
from dmx.tracking.secrets import without_secrets

TENSORBOARD, MLFLOW = "TensorBoard", "MLflow"
BATCH = 1000
"""Journal lines per batch; after each batch the position in the journal is saved."""
PAUSE = 2.0
"""Seconds between two reads of the journal, and the first wait after a failure."""
LONGEST_PAUSE = 60.0
"""The maximum wait in seconds after a failure; waits double up to it."""
LOCK_PATIENCE = 10.0
"""Seconds to wait for the forwarder of a killed parent to finish its batch and exit; it takes at most `GRACE`."""
GRACE = 3.0
"""Seconds for the current batch after the parent has exited; sending the batch again later does no harm."""

Message = dict[str, Any]
log = logging.getLogger(__name__)
_refusals: set[str] = set()
"""The refusals logged so far, so that a refusal that many runs meet is logged once."""


@runtime_checkable
class Store(Protocol):
    """A replica of the journal. After any exception, a new store retries later from the same position."""

    @property
    def sent(self) -> int:
        """The journal's byte offset up to which the store has everything; 0 if the store has lost the run."""

    def send(self, events: Sequence[Event], end: int) -> None:
        """Write the events between byte offsets `sent` and `end`; idempotent.

        Raises:
            PermanentStoreError: The store refuses them until the user acts; this is not an outage.
        """

    def close(self) -> None:
        """Close files and connections."""


class StoreForwarder:
    """Sends one run's journal to one store, batch by batch, and waits longer after each failure.

    Args:
        name: The store's name, for messages.
        journal: The journal.
        sent: The last known byte offset up to which the store has everything, used until the store is opened.
        make: Opens the store; called when there is something to send.
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

    def send(self) -> bool:
        """Send one batch.

        Returns:
            Whether anything was sent.
        """
        try:
            sent = self._send_batch()
        except Exception as error:  # a store or its server may raise anything; training must continue
            self._fail(error)
            return False
        if sent and self.failures:
            log.warning("%s takes events again.", self.name)
            self.failures, self.refused = 0, False
        return sent

    def send_all(self, after_batch: Callable[[], None] = lambda: None) -> None:
        """Send the rest of the journal.

        A store whose last batch succeeded gets two attempts; one that was failing or refuses gets one.
        """
        allowed = self.failures + (1 if self.failures else 2)
        while self.failures < allowed:
            failures = self.failures
            if self.send():
                after_batch()
            elif self.failures == failures or self.refused:
                return
            elif self.failures < allowed:
                time.sleep(1.0)

    def close(self) -> None:
        """Close the store."""
        try:
            if self._store is not None:
                self._store.close()
        except Exception as error:  # nothing is lost: the next `sync` sends missing events
            log.warning("%s could not be closed (%s).", self.name, without_secrets(str(error)))
        self._store = None

    def _send_batch(self) -> bool:
        if self._store is None and self._sent == self._journal.stat().st_size:
            return False
        store = self._store or self._make()
        self._store, self._sent = store, store.sent
        batch = list(islice(read(self._journal, store.sent), BATCH))
        if batch:
            flush(self._journal)  # a store must not have events that are not yet on disk
            store.send([event for event, _ in batch], batch[-1][1])
            self._sent = store.sent
        return bool(batch)

    def _fail(self, error: Exception) -> None:
        self.failures += 1
        error = unwritable_location(error) or error
        pause = min(PAUSE * 2 ** (self.failures - 1), LONGEST_PAUSE)
        self._not_before = time.monotonic() + pause
        text, self.refused = without_secrets(" ".join(str(error).split())), isinstance(error, PermanentStoreError)
        if self.refused:
            level = logging.DEBUG if text in _refusals else logging.WARNING
            _refusals.add(text)
            log.log(level, "%s The journal keeps it all.", text)
        else:
            level = logging.WARNING if self.failures == 1 else logging.DEBUG
            words = "%s takes no events now (%s); the journal keeps them and they are sent later."
            log.log(level, words, self.name, text[:300])
        self.close()


class RunForwarder:
    """Sends one run's journal to both stores, under a lock, so that only one process at a time sends a run.

    The operating system releases the lock when its process dies.

    Args:
        home: The results folder.
        run_id: The run.
        without: Stores that are known to be unavailable now.
    """

    def __init__(self, home: Home, run_id: str, without: Collection[str] = ()) -> None:
        self._home, self._run_id, self._without = home, run_id, without
        self._lock = FileLock(home.run(run_id) / "feed.lock")
        self._stores: list[StoreForwarder] = []

    def send(self) -> bool:
        """Send one batch to each store that is due.

        Returns:
            Whether anything was sent.
        """
        return self._locked(0.0) and sum(store.send() for store in self._stores if store.due) > 0

    def finish(self, after_batch: Callable[[], None] = lambda: None) -> None:
        """Send the rest of the journal, then close the stores and release the lock."""
        if self._locked(LOCK_PATIENCE):
            for store in self._stores:
                if store.name not in self._without:
                    store.send_all(after_batch)
                store.close()
            self._lock.release()

    def _locked(self, patience: float) -> bool:
        if self._lock.is_locked:
            return True
        try:
            self._lock.acquire(timeout=patience)
        except OSError:  # another forwarder has the lock, or the folder was removed
            return False
        self._stores = self._open()  # only now: another forwarder may have advanced the positions
        return True

    def _open(self) -> list[StoreForwarder]:
        """Create the store forwarders; stores are imported and opened only when there is something to send."""
        home, run_id = self._home, self._run_id
        folder, positions = home.run(run_id), sent(home, run_id)
        makers: dict[str, Callable[[], Store]] = {
            TENSORBOARD: lambda: tensorboard_store.TensorBoardStore(folder, home.tensorboard(run_id)),
            MLFLOW: lambda: mlflow_store.MlflowStore(home, run_id),
        }
        return [StoreForwarder(name, folder / JOURNAL, positions[name], make) for name, make in makers.items()]


def sent(home: Home, run_id: str) -> dict[str, int]:
    """The journal's byte offset up to which each store has everything, according to the run's folder."""
    board = tensorboard_store.sent(home.run(run_id), home.tensorboard(run_id))
    return {TENSORBOARD: board, MLFLOW: mlflow_store.sent(home, run_id)}


def unsent(home: Home, run_id: str) -> int:
    """The number of events that the store furthest behind lacks; a store where the run was deleted does not count."""
    positions, journal = sent(home, run_id), home.run(run_id) / JOURNAL
    if mlflow_store.was_deleted(home, run_id):
        del positions[MLFLOW]
    return sum(1 for _ in read(journal, min(positions.values()))) if journal.exists() else 0


class Forwarder:
    """The main object of the forwarder process: sends one batch of each open run in turn.

    `answer` sends a message to the parent.
    """

    def __init__(self, answer: Callable[[Message], None]) -> None:
        self._orders: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._answer = answer
        self._runs: dict[tuple[str, str], RunForwarder] = {}

    def work(self) -> None:
        """Send until stopped; the current batch is completed first."""
        sent = False
        while True:
            with suppress(queue.Empty):
                self._carry_out(self._orders.get(timeout=0.0 if sent else PAUSE))
            sent = sum(self._send(run) for run in self._runs.values()) > 0

    def order(self, message: Message) -> None:
        """Queue an order; it is carried out after the current batch."""
        self._orders.put(message)

    def stop(self) -> None:
        """Stop `work` after the current batch."""
        self._stopped.set()
        self._orders.put({})

    def _carry_out(self, order: Message) -> None:
        self._exit_if_stopped()
        key = (order["home"], order["run"])
        run = self._runs.pop(key, None) or RunForwarder(Home(Path(order["home"])), order["run"])
        if order["order"] == "open":
            self._runs[key] = run
            return
        run.finish(lambda: self._report_batch(order["run"]))
        self._answer({"finished": order["run"], "home": order["home"]})

    def _send(self, run: RunForwarder) -> bool:
        self._exit_if_stopped()
        return run.send()

    def _report_batch(self, run_id: str) -> None:
        self._exit_if_stopped()
        self._answer({"sending": run_id})

    def _exit_if_stopped(self) -> None:
        if self._stopped.is_set():
            raise SystemExit  # ends this thread only, and silently


class WarningsToParent(logging.Handler):
    """Sends dmx's own warnings to the parent, which shows them to the user."""

    def __init__(self, answer: Callable[[Message], None]) -> None:
        super().__init__(logging.WARNING)
        self._answer = answer

    def emit(self, record: logging.LogRecord) -> None:
        """Send the text."""
        self._answer({"warning": record.getMessage()})


def line_writer(stream: BinaryIO) -> Callable[[Message], None]:
    """Create a thread-safe function that writes messages as JSON lines; it does nothing if the reader has exited."""
    lock = threading.Lock()

    def write(message: Message) -> None:
        with lock, suppress(OSError):
            stream.write(json.dumps(message).encode() + b"\n")

    return write


def work_or_die(forwarder: Forwarder) -> None:
    """Run `work`; an unexpected error exits the process, and the parent starts a new one."""
    try:
        forwarder.work()
    except Exception as error:
        log.warning("Forwarding to MLflow and TensorBoard failed (%s).", without_secrets(repr(error)))
        os._exit(1)


def main() -> None:
    """Carry out the orders on standard input until it ends, then finish the current batch and exit."""
    for number in (*ENDING, *HALTING):
        signal.signal(number, signal.SIG_IGN)  # the parent decides when to exit
    cv2.setNumThreads(1)
    answer = line_writer(os.fdopen(os.dup(1), "wb", buffering=0))
    os.dup2(2, 1)  # keep output of libraries out of the answers
    logging.getLogger("dmx").addHandler(WarningsToParent(answer))
    forwarder = Forwarder(answer)
    worker = threading.Thread(target=work_or_die, args=(forwarder,), daemon=True)
    worker.start()
    for line in sys.stdin.buffer:
        forwarder.order(json.loads(line))
    forwarder.stop()
    worker.join(GRACE)
    os._exit(0)  # does not wait for threads of libraries
