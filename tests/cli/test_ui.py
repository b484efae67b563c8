"""`dmx ui` serves what is there, and leaves nothing running behind, however it is ended."""

import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from dmx.cli.ui import commands, refuse_taken
from dmx.errors import UserError
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
    assert process.wait(timeout=60) == 130
    deadline = time.monotonic() + 60
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def without_mlflow(home: Path) -> None:
    """A run that is in no store."""
    open_run(Home(home), "r", RunStart(experiment="e", name="r"), stores=False).finish(Outcome.COMPLETE, "")


def test_what_is_elsewhere_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_mlflow(tmp_path)
    assert list(commands(Home(tmp_path), None, "127.0.0.1", 5000)) == ["tensorboard"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////elsewhere.db")
    found = commands(Home(tmp_path), None, "127.0.0.1", 5000)
    assert list(found) == ["mlflow", "tensorboard"]
    assert found["mlflow"][1:6] == ["ui", "--backend-store-uri", "sqlite:////elsewhere.db", "--host", "127.0.0.1"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert list(commands(Home(tmp_path), None, "127.0.0.1", 5000)) == ["tensorboard"]


def test_where_nothing_was_run_nothing_is_served(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"nothing was ever run in {tmp_path}"):
        commands(Home(tmp_path), None, "127.0.0.1", 5000)


def test_a_port_that_is_taken_and_one_that_is_free(tmp_path: Path) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        port = one.getsockname()[1]
        with pytest.raises(UserError) as error:
            refuse_taken("127.0.0.1", [port])
    told = re.fullmatch(
        rf"port {port} of 127.0.0.1 is taken, perhaps by another `dmx ui`; `--port (\d+)` is free.", str(error.value)
    )
    assert told is not None
    refuse_taken("127.0.0.1", [int(told[1])])
    with pytest.raises(UserError, match=r"cannot listen on no\.such\.invalid, port 5000 \(.+\); try another --host"):
        refuse_taken("no.such.invalid", [5000])
