"""The forwarder's client in the parent process: starts it for the first run with stores and keeps it for later runs."""

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

# Its own process group, so that ctrl-C does not reach it before it gets the runs' last events. Not its own session,
# because Linux gives each session its own share of the processor, whatever its niceness.
BOOT = """
import sys
sys.path[:] = sys.argv[1:]
from dmx.machine import give_way
give_way()
from dmx.tracking.forwarder import main
main()
"""
STOP_PATIENCE = 5.0
"""Seconds to wait for the forwarder to exit; it takes up to 3 for the current batch."""

Answers = queue.SimpleQueue[dict[str, Any] | None]


@runtime_checkable
class SupportsForwarding(Protocol):
    """Requests the forwarding of runs, from its own forwarder process or through another process."""

    def open(self, home: Home, run_id: str) -> None:
        """Start forwarding a run."""

    def finish(self, home: Home, run_id: str, patience: float) -> None:
        """Forward the rest of a run."""


class ForwarderClient:
    """Starts the forwarder process, sends it orders and stops it.

    If the process has died, a new one is started with the next order.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str], None] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: Answers = queue.SimpleQueue()
        self._tracking_uri: str | None = None

    def open(self, home: Home, run_id: str) -> None:
        """Start forwarding a run."""
        with self._lock:
            self._order("open", (str(home.root), run_id))
            self._open[str(home.root), run_id] = None

    def finish(self, home: Home, run_id: str, patience: float) -> None:
        """Forward the rest of a run; return when it is done, or if nothing was sent for `patience` seconds.

        If the forwarder dies meanwhile, it is restarted once.
        """
        key = (str(home.root), run_id)
        with self._lock:
            self._order("finish", key)
            if not self._wait(key, patience):
                self._order("finish", key)
                self._wait(key, patience)
            self._open.pop(key, None)

    def stop(self) -> None:
        """Stop the forwarder after its current batch."""
        with self._lock:
            self._stop()

    def forget(self) -> None:
        """Detach in a forked process: close the inherited pipe, which would hide the parent's exit."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.returncode = 0  # the parent waits for it

    def _order(self, order: str, key: tuple[str, str]) -> None:
        try:
            if not self._alive():
                self._start()
            self._write(order, key)
        except OSError as error:  # the process has just died, or none can be started
            log.warning("MLflow and TensorBoard get nothing now (%s); the journal keeps it.", error)
            if self._process is None:
                self._answers.put(None)  # if there is a process, its listener does this

    def _alive(self) -> bool:
        if self._process is None:
            return False
        code = self._process.poll()
        if code is not None:
            log.warning("The process that sends to MLflow and TensorBoard ended (code %d); another one goes on.", code)
            self._stop()
        elif os.environ.get("MLFLOW_TRACKING_URI") != self._tracking_uri:  # it has the environment of its start
            self._stop()
        return self._process is not None

    def _start(self) -> None:
        self._answers = queue.SimpleQueue()
        self._tracking_uri = os.environ.get("MLFLOW_TRACKING_URI")
        self._process = process = subprocess.Popen(
            [sys.executable, "-c", BOOT, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # messages for the user come as answers
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
        """Wait for the end of a run while there is progress; return False if the forwarder died."""
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
    """The forwarder of this process."""
    if _instead:
        return _instead[0]
    client = ForwarderClient()
    atexit.register(client.stop)
    return client


_instead: list[SupportsForwarding] = []


def forward_through(other: SupportsForwarding) -> None:
    """Forward this process's runs through `other`, so that all workers share one forwarder that outlives them."""
    forwarder.cache_clear()
    _instead[:] = [other]


def forget_forwarder() -> None:
    """Reset the forwarder in a forked process."""
    if forwarder.cache_info().currsize and isinstance(client := forwarder(), ForwarderClient):
        client.forget()
    forwarder.cache_clear()


after_fork(forget_forwarder)
