"""What a kill, a dead server, a blocked folder and another store do to a run: nothing."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dmx.outcome import Outcome
from dmx.tracking import sync
from dmx.tracking.journal import read

# MLflow 3.17 uses a loader strategy that SQLAlchemy 2.1 calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from conftest import Home, Stored
stored, run_id = Stored(Home(Path(sys.argv[1]))), sys.argv[2]
run = stored.open(run_id)
stored.write(run, range(25))
while not (stored.home.run(run_id) / "mlflow.sent").exists():
    time.sleep(0.05)
stored.write(run, range(25, 33))
from dmx.tracking.mlflow_client import connect
connect(stored.home)
from mlflow.telemetry.utils import is_telemetry_disabled
print("half way, telemetry off:", is_telemetry_disabled(), flush=True)
time.sleep(60)
"""


def test_killed_in_the_middle_and_gone_on_with_every_step_stands_once(fresh):
    """Two processes also open the fresh store together; one is killed and goes on, one is killed for good."""
    code = CHILD.format(here=str(Path(__file__).parent))
    clean = {key: value for key, value in os.environ.items() if "TELEMETRY" not in key and key != "DO_NOT_TRACK"}
    children = [
        subprocess.Popen([sys.executable, "-c", code, fresh.home.root, run_id], stdout=subprocess.PIPE, env=clean)
        for run_id in ("killed", "abandoned")
    ]
    for child in children:
        with child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"half way, telemetry off: True\n"
            child.send_signal(signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL
    assert fresh.found("killed").info.status == "RUNNING"
    with (fresh.home.run("killed") / "journal.jsonl").open("ab") as torn:
        torn.write(b'{"kind": "metrics", "ti')

    run = fresh.open("killed")
    fresh.write(run, range(15, fresh.STEPS))  # from a checkpoint of step 14: eighteen steps are computed again
    assert run.finish(Outcome.COMPLETE, "all epochs") == 0
    fresh.check_everything_stands_once("killed")
    assert fresh.found("killed").info.status == "FINISHED"

    assert sync(fresh.home, "abandoned") == 0
    abandoned = fresh.found("abandoned")
    assert abandoned.info.status == "KILLED"
    assert abandoned.data.tags["dmx.outcome"] == "interrupted"
    assert abandoned.data.tags["dmx.reason"] == "the process ended without saying why"
    assert len(fresh.history("abandoned", "train/loss")) == 33
    assert len(fresh.board("abandoned").Scalars("train/loss")) == 33


def test_a_store_that_is_down_costs_nothing_and_gets_everything_later(stored, monkeypatch, caplog):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{port}")
    run = stored.open("down")
    begun = time.perf_counter()
    stored.write(run, range(stored.STEPS))
    logging_took = time.perf_counter() - begun
    begun = time.perf_counter()
    unsent = run.finish(Outcome.COMPLETE, "")
    finishing_took = time.perf_counter() - begun
    events = list(read(stored.home.run("down") / "journal.jsonl"))
    assert unsent == len(events) == 2 * stored.STEPS + len(stored.PICTURED) + 2
    assert logging_took < 20  # a call to a store that is down takes minutes
    assert finishing_took < 40  # two attempts of 3 s each; 246 s with MLflow's own settings
    assert "MLflow takes no events now" in caplog.text
    assert len(stored.board("down").Scalars("train/loss")) == stored.STEPS
    assert sync(stored.home, "down") == unsent

    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert sync(stored.home, "down") == 0
    stored.check_everything_stands_once("down")
    assert not any(b"secret" in file.read_bytes() for file in stored.home.run("down").rglob("*") if file.is_file())


def test_tensorboard_that_cannot_write_harms_nobody(stored, caplog):
    stored.home.tensorboard("blocked").parent.mkdir(parents=True, exist_ok=True)
    stored.home.tensorboard("blocked").write_text("a file where the folder should be")
    run = stored.open("blocked")
    stored.write(run, range(stored.STEPS))
    assert run.finish(Outcome.COMPLETE, "") > 0
    assert len(stored.history("blocked", "train/loss")) == stored.STEPS
    assert "a file stands where a folder is needed: move it" in caplog.text
    stored.home.tensorboard("blocked").unlink()
    assert sync(stored.home, "blocked") == 0
    stored.check_everything_stands_once("blocked")


def test_another_store_gets_the_whole_run(stored, tmp_path, monkeypatch):
    run = stored.open("moved")
    stored.write(run, range(stored.STEPS))
    run.finish(Outcome.COMPLETE, "")
    elsewhere = f"sqlite:///{tmp_path / 'other.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", elsewhere)
    assert sync(stored.home, "moved") == 0
    type(stored)(stored.home, elsewhere).check_everything_stands_once("moved")
