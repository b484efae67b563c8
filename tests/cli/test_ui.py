"""`dmx ui` leaves nothing running behind, however it is ended."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from dmx.outcome import Outcome
from dmx.tracking import Home, RunStart, open_run


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_ending_it_ends_its_servers(tmp_path: Path, number: int) -> None:
    tracker = open_run(Home(tmp_path), "r", RunStart(experiment="e", name="r"))
    tracker.finish(Outcome.COMPLETE, "")
    command = [sys.executable, "-m", "dmx", "ui", "--home", str(tmp_path), "--port", str(free_port())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(3)]
    assert "http://127.0.0.1:" in said[0]
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.send_signal(number)
    assert process.wait(timeout=20) == 130
    deadline = time.monotonic() + 20
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.1)
