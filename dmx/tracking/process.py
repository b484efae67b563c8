"""The feeder's process as its parent sees it: started at the first run that has stores, and kept for those after it."""

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
from dmx.tracking.feeder import main
main()
"""
STOP_PATIENCE = 5.0
"""Seconds for the feeder to go at the end of the process; it allows itself 3 for the batch in hand."""

Answers = queue.SimpleQueue[dict[str, Any] | None]


class FeederProcess:
    """One feeder; when it has died, another is started at the next opening or finishing of a run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str], None] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: Answers = queue.SimpleQueue()
        self._address: str | None = None

    def open(self, home: Home, run_id: str) -> None:
        """Have a run fed from now on."""
        with self._lock:
            self._tell("open", (str(home.root), run_id))
            self._open[str(home.root), run_id] = None

    def finish(self, home: Home, run_id: str, patience: float) -> None:
        """Have the rest of a run sent; returns when that is done, or nothing went through for `patience` seconds.

        A feeder that dies meanwhile is followed by one other.
        """
        key = (str(home.root), run_id)
        with self._lock:
            self._tell("finish", key)
            if not self._wait(key, patience):
                self._tell("finish", key)
                self._wait(key, patience)
            self._open.pop(key, None)

    def stop(self) -> None:
        """Have the feeder end, with the batch in hand."""
        with self._lock:
            self._stop()

    def forget(self) -> None:
        """In a forked process: leave the feeder to the parent, whose death it would not see through our copy."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.returncode = 0  # not ours to wait for

    def _tell(self, order: str, key: tuple[str, str]) -> None:
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
            log.warning("The process that feeds MLflow and TensorBoard ended (code %d); another one goes on.", code)
            self._stop()
        elif os.environ.get("MLFLOW_TRACKING_URI") != self._address:  # it lives with the environment it began with
            self._stop()
        return self._process is not None

    def _start(self) -> None:
        self._answers = queue.SimpleQueue()
        self._address = os.environ.get("MLFLOW_TRACKING_URI")
        self._process = process = subprocess.Popen(
            [sys.executable, "-c", BOOT, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it gives us what the user should read
            bufsize=0,
            **apart(),
        )
        threading.Thread(target=listen, args=(process, self._answers), name="dmx-feeder", daemon=True).start()
        for key in self._open:
            self._write("open", key)

    def _write(self, order: str, key: tuple[str, str]) -> None:
        if self._process is not None and self._process.stdin is not None:
            home, run_id = key
            self._process.stdin.write(json.dumps({"order": order, "home": home, "run": run_id}).encode() + b"\n")

    def _wait(self, key: tuple[str, str], patience: float) -> bool:
        """Wait for the end of a run as long as there is progress; False if the feeder died."""
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
            log.warning("The process that feeds MLflow and TensorBoard does not end; it is left alone.")


def listen(process: subprocess.Popen[bytes], answers: Answers) -> None:
    """Take in what the feeder says, until it ends: warnings go to the log, answers to who waits for them."""
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


@runtime_checkable
class Feeding(Protocol):
    """Whoever has runs fed."""

    def open(self, home: Home, run_id: str) -> None:
        """Have a run fed from now on."""

    def finish(self, home: Home, run_id: str, patience: float) -> None:
        """Have the rest of a run sent."""


@cache
def feeder() -> Feeding:
    """The feeder of this process."""
    if elsewhere:
        return elsewhere[0]
    made = FeederProcess()
    atexit.register(made.stop)
    return made


elsewhere: list[Feeding] = []


def feed_elsewhere(by: Feeding) -> None:
    """Have this process's runs fed by another: many workers need one feeder, which outlives each of them."""
    feeder.cache_clear()
    elsewhere[:] = [by]


def forget_feeder() -> None:
    """A forked process begins without a feeder."""
    if feeder.cache_info().currsize and isinstance(mine := feeder(), FeederProcess):
        mine.forget()
    feeder.cache_clear()


after_fork(forget_feeder)
