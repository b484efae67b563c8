"""The feeder: a process of its own that carries journals to the stores, so that training keeps its cores and its GIL.

`process.py` starts it and speaks JSON lines with it. It is told `{"order": "open" | "finish", "home": ..., "run": ...}`
and answers `{"finished": run, "home": ...}`, and, while it empties a journal, `{"sending": run}` after each batch;
`{"warning": text}` is for the user. It ends when the parent closes the pipe, or dies.
"""

import json
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import cv2

from dmx.machine import ENDING, HALTING
from dmx.tracking.delivery import Delivery
from dmx.tracking.feed import PAUSE
from dmx.tracking.home import Home
from dmx.tracking.secrets import without_secrets

GRACE = 3.0
"""Seconds for the batch in hand after the parent is gone; sending it again later does no harm."""

Message = dict[str, Any]
log = logging.getLogger(__name__)


class Feeder:
    """Feeds the runs it is told of, a batch of each in turn.

    Args:
        say: Answers the parent.
    """

    def __init__(self, say: Callable[[Message], None]) -> None:
        self._orders: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._say = say
        self._runs: dict[tuple[str, str], Delivery] = {}

    def work(self) -> None:
        """Feed until stopped; nothing is in hand when this ends."""
        moved = False
        while True:
            with suppress(queue.Empty):
                self._obey(self._orders.get(timeout=0.0 if moved else PAUSE))
            moved = sum(self._pump(delivery) for delivery in self._runs.values()) > 0

    def tell(self, order: Message) -> None:
        """Take an order; it is carried out after the batch in hand."""
        self._orders.put(order)

    def stop(self) -> None:
        """End `work` after the batch in hand."""
        self._stopped.set()
        self._orders.put({})

    def _obey(self, order: Message) -> None:
        self._stop_if_told()
        key = (order["home"], order["run"])
        delivery = self._runs.pop(key, None) or Delivery(Home(Path(order["home"])), order["run"])
        if order["order"] == "open":
            self._runs[key] = delivery
            return
        delivery.finish(lambda: self._note(order["run"]))
        self._say({"finished": order["run"], "home": order["home"]})

    def _pump(self, delivery: Delivery) -> bool:
        self._stop_if_told()
        return delivery.pump()

    def _note(self, run_id: str) -> None:
        self._stop_if_told()
        self._say({"sending": run_id})

    def _stop_if_told(self) -> None:
        if self._stopped.is_set():
            raise SystemExit  # ends this thread only, and silently


class Forward(logging.Handler):
    """Gives our own warnings to the parent, which knows how its user wants to read them."""

    def __init__(self, say: Callable[[Message], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Send the text."""
        self._say({"warning": record.getMessage()})


def speaker(stream: BinaryIO) -> Callable[[Message], None]:
    """A way to answer the parent, from any thread; a parent that is gone hears nothing."""
    lock = threading.Lock()

    def say(message: Message) -> None:
        with lock:
            try:
                stream.write(json.dumps(message).encode() + b"\n")
            except OSError:
                return

    return say


def work_or_die(feeder: Feeder) -> None:
    """Work; what nobody thought of ends the process, for a parent can see that and start another."""
    try:
        feeder.work()
    except Exception as error:
        log.warning("Feeding MLflow and TensorBoard failed (%s).", without_secrets(repr(error)))
        os._exit(1)


def main() -> None:
    """Feed what standard input tells of until it ends; then finish the batch in hand and exit, without a drain."""
    for number in (*ENDING, *HALTING):
        signal.signal(number, signal.SIG_IGN)  # the parent decides when it is time to end
    cv2.setNumThreads(1)
    say = speaker(os.fdopen(os.dup(1), "wb", buffering=0))
    os.dup2(2, 1)  # libraries that print must not speak for us
    logging.getLogger("dmx").addHandler(Forward(say))
    feeder = Feeder(say)
    worker = threading.Thread(target=work_or_die, args=(feeder,), daemon=True)
    worker.start()
    for line in sys.stdin.buffer:
        feeder.tell(json.loads(line))
    feeder.stop()
    worker.join(GRACE)
    os._exit(0)  # libraries' threads are not waited for
