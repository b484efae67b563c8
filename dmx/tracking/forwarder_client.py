"""The forwarder as its parent sees it: started at the first run that has stores, and kept for the runs after it."""

import atexit
import json
import logging
import os
import queue
import subprocess
import sys
import threading
from functools import cache
from typing import Any, Protocol, runtime_checkable

from dmx.machine import after_fork, apart
from dmx.tracking.home import Home

log = logging.getLogger(__name__)

# In its own process group ctrl-C does not reach it before it is told of the runs' ends. Not in its own session: Linux
# would give a session its share of the processor whatever its niceness is.
BOOT = """
import sys
sys.path[:] = sys.argv[1:]
from dmx.machine import give_way
give_way()
from dmx.tracking.forwarder import main
main()
"""
STOP_PATIENCE = 5.0
"""Seconds for the forwarder to end; it allows itself 3 for the current batch."""

Answers = queue.SimpleQueue[dict[str, Any] | None]


@runtime_checkable
class SupportsForwarding(Protocol):
    """Has runs forwarded: by a process that it started, or by another process that it asks."""

    def open(self, home: Home, run_id: str) -> None:
        """Have a run forwarded from now on."""

    def finish(self, home: Home, run_id: str, patience: float) -> None:
        """Have the rest of a run sent."""


class ForwarderClient:
    """Starts the forwarder, gives it orders and stops it.

    When the process has died, another is started at the next opening or finishing of a run.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str], None] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: Answers = queue.SimpleQueue()
        self._tracking_uri: str | None = None

    def open(self, home: Home, run_id: str) -> None:
        """Have a run forwarded from now on."""
        with self._lock:
            self._order("open", (str(home.root), run_id))
            self._open[str(home.root), run_id] = None

    def finish(self, home: Home, run_id: str, patience: float) -> None:
        """Have the rest of a run sent; returns when that is done, or nothing was sent for `patience` seconds.

        If the forwarder dies meanwhile, one other is started.
        """
        key = (str(home.root), run_id)
        with self._lock:
            self._order("finish", key)
            if not self._wait(key, patience):
                self._order("finish", key)
                self._wait(key, patience)
            self._open.pop(key, None)

    def stop(self) -> None:
        """Have the forwarder end after its current batch."""
        with self._lock:
            self._stop()

    def forget(self) -> None:
        """In a forked process: leave the forwarder to the parent, whose death it would not see through our copy."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.returncode = 0  # not ours to wait for

    def _order(self, order: str, key: tuple[str, str]) -> None:
        try:
            if not self._alive():
                self._start()
            self._write(order, key)
        except OSError as error:  # it died this moment, or none can be started
            log.warning("MLflow and TensorBoard get nothing now (%s); the journal keeps it.", error)
            if self._process is None:
                self._answers.put(None)  # else its listener says it

    def _alive(self) -> bool:
        if self._process is None:
            return False
        code = self._process.poll()
        if code is not None:
            log.warning("The process that sends to MLflow and TensorBoard ended (code %d); another one goes on.", code)
            self._stop()
        elif os.environ.get("MLFLOW_TRACKING_URI") != self._tracking_uri:  # it keeps the environment of its start
            self._stop()
        return self._process is not None

    def _start(self) -> None:
        self._answers = queue.SimpleQueue()
        self._tracking_uri = os.environ.get("MLFLOW_TRACKING_URI")
        self._process = process = subprocess.Popen(
            [sys.executable, "-c", BOOT, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it gives us what the user should read
            bufsize=0,
            **apart(),
        )
        threading.Thread(target=listen, args=(process, self._answers), name="dmx-forwarder", daemon=True).start()
        for key in self._open:
            self._write("open", key)

    def _write(self, order: str, key: tuple[str, str]) -> None:
        if self._process is not None and self._process.stdin is not None:
            home, run_id = key
            self._process.stdin.write(json.dumps({"order": order, "home": home, "run": run_id}).encode() + b"\n")

    def _wait(self, key: tuple[str, str], patience: float) -> bool:
        """Wait for the end of a run as long as there is progress; False if the forwarder died."""
        while True:
            try:
                answer = self._answers.get(timeout=patience)
            except queue.Empty:
                return True
            if answer is None:
                return False
            if (answer.get("home"), answer.get("finished")) == key:
                return True

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            log.warning("The process that sends to MLflow and TensorBoard does not end; it is left alone.")


def listen(process: subprocess.Popen[bytes], answers: Answers) -> None:
    """Read what the forwarder writes until it ends: warnings go to the log, answers to the queue."""
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            message = json.loads(line)
            if "warning" in message:
                log.warning("%s", message["warning"])
            else:
                answers.put(message)
    process.wait()
    answers.put(None)


@cache
def forwarder() -> SupportsForwarding:
    """The one through which this process has its runs forwarded."""
    if _instead:
        return _instead[0]
    client = ForwarderClient()
    atexit.register(client.stop)
    return client


_instead: list[SupportsForwarding] = []


def forward_through(other: SupportsForwarding) -> None:
    """Have this process's runs forwarded by `other`: many workers need one forwarder, which outlives each of them."""
    forwarder.cache_clear()
    _instead[:] = [other]


def forget_forwarder() -> None:
    """A forked process begins without a forwarder."""
    if forwarder.cache_info().currsize and isinstance(client := forwarder(), ForwarderClient):
        client.forget()
    forwarder.cache_clear()


after_fork(forget_forwarder)
