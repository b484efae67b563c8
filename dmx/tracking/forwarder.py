"""The forwarder: a process of its own that carries journals to MLflow and TensorBoard while training goes on.

Training keeps its cores and its GIL. `forwarder_client.py` starts the process and speaks JSON lines with it. It takes
`{"order": "open" | "finish", "home": ..., "run": ...}` and answers `{"finished": run, "home": ...}` and, while it
empties a journal, `{"sending": run}` after each batch; `{"warning": text}` is for the user. It ends when the parent
closes the pipe, or dies.

`Forwarder` has a `RunForwarder` for each open run, and that a `StoreForwarder` for each of the two stores.
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
from dmx.tracking.mlflow_client import RefusedError, misplaced
from dmx.tracking.secrets import without_secrets

TENSORBOARD, MLFLOW = "TensorBoard", "MLflow"
BATCH = 1000
"""Journal lines that are sent before the position in the journal is saved."""
PAUSE = 2.0
"""Seconds between two looks at the journal, and the first wait after a failure."""
LONGEST_PAUSE = 60.0
"""Seconds to which the wait after a failure doubles at most."""
LOCK_PATIENCE = 10.0
"""Seconds for a forwarder whose parent was killed to finish its batch and go; it takes `GRACE` at most."""
GRACE = 3.0
"""Seconds for the current batch after the parent is gone; sending it again later does no harm."""

Message = dict[str, Any]
log = logging.getLogger(__name__)
_refusals: set[str] = set()
"""What stores have refused so far: many runs may meet the same refusal, and it is logged once."""


@runtime_checkable
class Store(Protocol):
    """A replica of the journal. Any exception means: try again later, with a new store, from the same place."""

    @property
    def sent(self) -> int:
        """The journal's byte offset up to which the store has everything; 0 once it turned out to have lost the run."""

    def send(self, events: Sequence[Event], end: int) -> None:
        """Take the events that follow `sent` and reach up to byte `end`; taking one twice changes nothing.

        Raises:
            RefusedError: It is no outage: the user has to do something.
        """

    def close(self) -> None:
        """Close files and connections."""


class StoreForwarder:
    """Sends one run's journal to one store, batch by batch, and waits longer after each failure.

    Args:
        name: The store's name, for people.
        journal: Where the events come from.
        sent: The byte offset up to which the store is thought to have everything, until it says so itself.
        make: Opens the store; not called before there is something to send.
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
        except Exception as error:  # whatever a store or its server may raise: training goes on
            self._fail(error)
            return False
        if sent and self.failures:
            log.warning("%s takes events again.", self.name)
            self.failures, self.refused = 0, False
        return sent

    def send_all(self, after_batch: Callable[[], None] = lambda: None) -> None:
        """Send the rest of the journal.

        A store that was well gets two attempts, one that was down already or refuses gets one.
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
        except Exception as error:  # nothing is lost: what the store lacks is sent by the next `sync`
            log.warning("%s could not be closed (%s).", self.name, without_secrets(str(error)))
        self._store = None

    def _send_batch(self) -> bool:
        if self._store is None and self._sent == self._journal.stat().st_size:
            return False
        store = self._store or self._make()
        self._store, self._sent = store, store.sent
        batch = list(islice(read(self._journal, store.sent), BATCH))
        if batch:
            flush(self._journal)  # no store may know more than the disk does
            store.send([event for event, _ in batch], batch[-1][1])
            self._sent = store.sent
        return bool(batch)

    def _fail(self, error: Exception) -> None:
        self.failures += 1
        error = misplaced(error) or error
        pause = min(PAUSE * 2 ** (self.failures - 1), LONGEST_PAUSE)
        self._not_before = time.monotonic() + pause
        text, self.refused = without_secrets(" ".join(str(error).split())), isinstance(error, RefusedError)
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
    """Sends one run's journal to both stores, under a lock: of all processes, one at a time sends a run.

    The system releases the lock when its process dies.

    Args:
        home: Where runs and stores are.
        run_id: The run.
        without: Stores that are known to take nothing now.
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
        except OSError:  # another forwarder has it, or the folder is gone
            return False
        self._stores = self._open()  # not before: how far the stores are may have changed
        return True

    def _open(self) -> list[StoreForwarder]:
        """The ways to the stores; no store is imported or opened before there is something to send."""
        home, run_id = self._home, self._run_id
        folder, positions = home.run(run_id), sent(home, run_id)
        makers: dict[str, Callable[[], Store]] = {
            TENSORBOARD: lambda: tensorboard_store.TensorBoardStore(folder, home.tensorboard(run_id)),
            MLFLOW: lambda: mlflow_store.MlflowStore(home, run_id),
        }
        return [StoreForwarder(name, folder / JOURNAL, positions[name], make) for name, make in makers.items()]


def sent(home: Home, run_id: str) -> dict[str, int]:
    """The journal's byte offset up to which each store has everything, as far as the run's folder knows."""
    board = tensorboard_store.sent(home.run(run_id), home.tensorboard(run_id))
    return {TENSORBOARD: board, MLFLOW: mlflow_store.sent(home, run_id)}


def unsent(home: Home, run_id: str) -> int:
    """The number of events that the store which is furthest behind lacks, without a store where the run was deleted."""
    positions, journal = sent(home, run_id), home.run(run_id) / JOURNAL
    if mlflow_store.was_deleted(home, run_id):
        del positions[MLFLOW]
    return sum(1 for _ in read(journal, min(positions.values()))) if journal.exists() else 0


class Forwarder:
    """The inside of the process: sends the open runs in turn, a batch of each.

    Args:
        answer: Sends a message to the parent.
    """

    def __init__(self, answer: Callable[[Message], None]) -> None:
        self._orders: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._answer = answer
        self._runs: dict[tuple[str, str], RunForwarder] = {}

    def work(self) -> None:
        """Send until stopped; no batch is half sent when this ends."""
        sent = False
        while True:
            with suppress(queue.Empty):
                self._carry_out(self._orders.get(timeout=0.0 if sent else PAUSE))
            sent = sum(self._send(run) for run in self._runs.values()) > 0

    def order(self, message: Message) -> None:
        """Take an order; it is carried out after the current batch."""
        self._orders.put(message)

    def stop(self) -> None:
        """End `work` after the current batch."""
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
    """Gives our own warnings to the parent, which knows how its user wants to read them."""

    def __init__(self, answer: Callable[[Message], None]) -> None:
        super().__init__(logging.WARNING)
        self._answer = answer

    def emit(self, record: logging.LogRecord) -> None:
        """Send the text."""
        self._answer({"warning": record.getMessage()})


def line_writer(stream: BinaryIO) -> Callable[[Message], None]:
    """A function that writes messages as JSON lines, from any thread; where the reader is gone it does nothing."""
    lock = threading.Lock()

    def write(message: Message) -> None:
        with lock, suppress(OSError):
            stream.write(json.dumps(message).encode() + b"\n")

    return write


def work_or_die(forwarder: Forwarder) -> None:
    """Work; an unexpected error ends the process, which the parent sees, so that it starts another."""
    try:
        forwarder.work()
    except Exception as error:
        log.warning("Forwarding to MLflow and TensorBoard failed (%s).", without_secrets(repr(error)))
        os._exit(1)


def main() -> None:
    """Carry out the orders on standard input until it ends, then finish the current batch and exit."""
    for number in (*ENDING, *HALTING):
        signal.signal(number, signal.SIG_IGN)  # the parent decides when it is time to end
    cv2.setNumThreads(1)
    answer = line_writer(os.fdopen(os.dup(1), "wb", buffering=0))
    os.dup2(2, 1)  # what libraries print must not stand among the answers
    logging.getLogger("dmx").addHandler(WarningsToParent(answer))
    forwarder = Forwarder(answer)
    worker = threading.Thread(target=work_or_die, args=(forwarder,), daemon=True)
    worker.start()
    for line in sys.stdin.buffer:
        forwarder.order(json.loads(line))
    forwarder.stop()
    worker.join(GRACE)
    os._exit(0)  # libraries' threads are not waited for
