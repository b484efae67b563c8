"""A measuring process, seen from the command that asks it."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import psutil

from dmx.deliver.bench import worker
from dmx.errors import MachineError, last_line

SECONDS = 900.0
"""Most that one answer may take; the first of a compiled network comes after a minute or more."""
ENDING = 10.0
"""Seconds that a process may take to end when it has nothing more to say."""


class FailedError(MachineError):
    """A network could not be loaded or run."""


@dataclass(frozen=True)
class Timing:
    """One round of one network.

    Attributes:
        seconds: Of each call.
        cpu: Seconds of processor time of all calls.
        peak: The greatest memory of the process, in bytes.
        threads: Threads of a prediction.
    """

    seconds: tuple[float, ...]
    cpu: float
    peak: int
    threads: int

    def pictures(self, batch: int) -> int:
        """How many pictures were predicted."""
        return batch * len(self.seconds)


class Worker:
    """A process that has loaded one network and measures it on request; it ends with the context.

    Args:
        source: What it loads: see `worker.main`.
        threads: Threads of a prediction.

    Raises:
        FailedError: The network cannot be loaded.
    """

    def __init__(self, source: Mapping[str, Any], threads: int) -> None:
        self._cpu = 0.0
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `_end`
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", worker.__name__, json.dumps({**source, "threads": threads})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
        )
        try:
            self._answer()
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def measure(self, batch: int, seconds: float, least: int) -> Timing:
        """Predict a batch of this size again and again, for so many seconds and so many times at least.

        Raises:
            FailedError: The network fails, or the process ends or gives no answer.
        """
        assert self._process.stdin is not None
        asked = {"batch": batch, "seconds": seconds, "least": least}
        try:
            self._process.stdin.write(json.dumps(asked).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise FailedError(self._last_words()) from error
        found = self._answer()
        return Timing(tuple(found["seconds"]), found["cpu"], found["peak"], found["threads"])

    @property
    def cpu(self) -> float:
        """Seconds of processor time that it has used; of one that has ended, as far as is known."""
        with suppress(psutil.Error):
            times = psutil.Process(self._process.pid).cpu_times()
            self._cpu = float(times.user + times.system)
        return self._cpu

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        watch = threading.Timer(SECONDS, self._process.kill)
        watch.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watch.cancel()
        if not line:
            raise FailedError(self._last_words())
        found: dict[str, Any] = json.loads(line)
        if "failure" in found:
            raise FailedError(found["failure"])
        return found

    def _last_words(self) -> str:
        try:
            code = self._process.wait(ENDING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._errors.seek(0)
        if code < 0:
            return f"its process was killed, as when memory runs out, and after {SECONDS:.0f} s without an answer"
        return f"its process ended with {code} ({last_line(self._errors.read().decode(errors='replace'))})"

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                with suppress(BrokenPipeError):  # what was not read by a process that was killed
                    pipe.close()
