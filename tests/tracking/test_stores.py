"""The stores themselves: a real MLflow on SQLite and real event files."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, EventAccumulator

from dmx.outcome import Outcome
from dmx.tracking import Home, RunStart, RunTracker, mlflow_client, open_run, sync
from dmx.tracking.journal import Finished, Measured, read

# MLflow 3.17 uses a loader strategy that SQLAlchemy 2.1 calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

PICTURE = np.full((8, 12, 3), 200, np.uint8)
STEPS = 40
PICTURED = (10, 20, 30)


def start(name: str = "first") -> RunStart:
    params = {"model.name": "unet", "optimizer.lr": 0.1, "none": None}
    return RunStart("study one", name, {"dmx.study": "s"}, params, {"config.yaml": "lr: 0.1\n"})


def write(run: RunTracker, steps: range) -> None:
    """What a training would log: a function of the step alone."""
    for step in steps:
        run.log(step, {"train/loss": 1 / (step + 1), "val/silog[lambda=0.85]": float("nan") if step == 7 else step})
        if step in PICTURED:
            run.image(step, "val/panel", PICTURE)


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("tracking") / "mlruns")


@pytest.fixture
def client(home):
    return MlflowClient(home.mlflow_uri)


def found(client: MlflowClient, run_id: str):
    """The one MLflow run of a run of ours."""
    groups = [group.experiment_id for group in client.search_experiments()]
    (run,) = client.search_runs(groups, f"tags.`dmx.run` = '{run_id}'")
    return run


def history(client: MlflowClient, run_id: str, key: str) -> list[tuple[int, float]]:
    points = client.get_metric_history(found(client, run_id).info.run_id, key)
    return sorted((point.step, point.value) for point in points)


def board(home: Home, run_id: str) -> EventAccumulator:
    events = EventAccumulator(str(home.tensorboard(run_id)), size_guidance={SCALARS: 0, IMAGES: 0})
    return events.Reload()


def check_everything_stands_once(home: Home, client: MlflowClient, run_id: str) -> None:
    losses = [(step, 1 / (step + 1)) for step in range(STEPS)]
    assert history(client, run_id, "train/loss") == losses
    silog = history(client, run_id, "val/silog lambda 0.85")
    assert [step for step, _ in silog] == list(range(STEPS))
    assert [step for step, value in silog if np.isnan(value)] == [7]
    pictures = [file.path for file in client.list_artifacts(found(client, run_id).info.run_id, "images")]
    assert sorted(path.split("+")[2] for path in pictures if path.endswith(".png")) == ["10", "20", "30"]
    assert sorted(path.split("+")[2] for path in pictures if path.endswith("+compressed.webp")) == ["10", "20", "30"]
    events = board(home, run_id)
    scalars = [(point.step, point.value) for point in events.Scalars("train/loss")]
    assert scalars == [(step, pytest.approx(value, rel=1e-6)) for step, value in losses]
    assert len(events.Scalars("val/silog[lambda=0.85]")) == STEPS
    assert [picture.step for picture in events.Images("val/panel")] == list(PICTURED)
    journal = [event for event, _ in read(home.run(run_id) / "journal.jsonl") if isinstance(event, Measured)]
    assert [event.step for event in journal if "train/loss" in event.values] == list(range(STEPS))
    times = {event.step: event.time for event in journal if "train/loss" in event.values}
    mlflow_id = found(client, run_id).info.run_id
    assert {p.step: p.timestamp for p in client.get_metric_history(mlflow_id, "train/loss")} == times
    assert {p.step: round(p.wall_time * 1000) for p in events.Scalars("train/loss")} == times


CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from test_stores import Home, PICTURED, STEPS, open_run, start, write
home, run_id = Home(Path(sys.argv[1])), sys.argv[2]
run = open_run(home, run_id, start())
write(run, range(25))
while not (home.run(run_id) / "mlflow.sent").exists():
    time.sleep(0.05)
write(run, range(25, 33))
from mlflow.telemetry.utils import is_telemetry_disabled
print("half way, telemetry off:", is_telemetry_disabled(), flush=True)
time.sleep(60)
"""


def test_killed_in_the_middle_and_gone_on_with_every_step_stands_once(tmp_path):
    """Two processes also open the fresh store together; one is killed and goes on, one is killed for good."""
    home = Home(tmp_path / "fresh")
    code = CHILD.format(here=str(Path(__file__).parent))
    clean = {key: value for key, value in os.environ.items() if "TELEMETRY" not in key and key != "DO_NOT_TRACK"}
    children = [
        subprocess.Popen([sys.executable, "-c", code, home.root, run_id], stdout=subprocess.PIPE, env=clean)
        for run_id in ("killed", "abandoned")
    ]
    for child in children:
        with child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"half way, telemetry off: True\n"
            child.send_signal(signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL
    client = MlflowClient(home.mlflow_uri)
    assert found(client, "killed").info.status == "RUNNING"
    with (home.run("killed") / "journal.jsonl").open("ab") as torn:
        torn.write(b'{"kind": "metrics", "ti')

    run = open_run(home, "killed", start())
    write(run, range(15, STEPS))  # from a checkpoint of step 14: eighteen steps are computed again
    assert run.finish(Outcome.COMPLETE, "all epochs") == 0
    check_everything_stands_once(home, client, "killed")
    assert found(client, "killed").info.status == "FINISHED"

    assert sync(home, "abandoned") == 0
    abandoned = found(client, "abandoned")
    assert abandoned.info.status == "KILLED"
    assert abandoned.data.tags["dmx.outcome"] == "interrupted"
    assert abandoned.data.tags["dmx.reason"] == "the process ended without saying why"
    assert len(history(client, "abandoned", "train/loss")) == 33
    assert len(board(home, "abandoned").Scalars("train/loss")) == 33


def test_what_is_sent_twice_stands_once(home, client):
    run = open_run(home, "twice", start())
    write(run, range(STEPS))
    run.finish(Outcome.COMPLETE, "")
    before = found(client, "twice").info.run_id
    for name in ("mlflow.sent", "tensorboard.sent"):  # as if killed between sending and noting it
        (home.run("twice") / name).unlink()
    assert sync(home, "twice") == 0
    assert found(client, "twice").info.run_id == before
    check_everything_stands_once(home, client, "twice")


def test_a_run_has_everything_of_its_start(home, client):
    run = open_run(home, "start", start("a name"))
    (run.folder / "best.bin").write_bytes(b"weights")
    run.artifact(run.folder / "best.bin", "model")
    run.finish(Outcome.COMPLETE, "")
    mine = found(client, "start")
    assert mine.info.run_name == "a name"
    assert mine.data.params == {"model.name": "unet", "optimizer.lr": "0.1", "none": "None"}
    assert mine.data.tags["dmx.study"] == "s"
    group = client.get_experiment(mine.info.experiment_id)
    assert (group.name, group.artifact_location) == ("study one", (home.artifacts / "study_one").as_uri())
    assert [file.path for file in client.list_artifacts(mine.info.run_id)] == ["config.yaml", "model"]
    kept = Path(client.download_artifacts(mine.info.run_id, "model/best.bin"))
    assert kept.read_bytes() == b"weights"
    events = board(home, "start")
    text = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| optimizer.lr | 0.1 |" in text


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome.COMPLETE, "FINISHED"),
        (Outcome.PRUNED, "FINISHED"),
        (Outcome.INTERRUPTED, "KILLED"),
        (Outcome.DIVERGED, "FAILED"),
        (Outcome.OUT_OF_MEMORY, "FAILED"),
        (Outcome.TIMED_OUT, "FAILED"),
        (Outcome.CRASHED, "FAILED"),
    ],
)
def test_an_outcome_is_a_status_and_a_tag(home, client, outcome, status):
    run_id = f"outcome-{outcome}"
    open_run(home, run_id, start()).finish(outcome, "x" * 9000)
    run = found(client, run_id)
    assert run.info.status == status
    assert run.data.tags["dmx.outcome"] == outcome.value
    assert run.data.tags["dmx.reason"] == "x" * 8000
    last = [event for event, _ in read(home.run(run_id) / "journal.jsonl")][-1]
    assert isinstance(last, Finished)
    assert run.info.end_time == last.time


def test_an_interrupted_run_runs_again_when_reopened(home, client):
    open_run(home, "again", start()).finish(Outcome.INTERRUPTED, "ctrl-C")
    before = found(client, "again").info
    run = open_run(home, "again", start())
    run.log(1, {"a": 1.0})
    deadline = time.monotonic() + 20
    while found(client, "again").info.status != "RUNNING" and time.monotonic() < deadline:
        time.sleep(0.1)
    now = found(client, "again")
    assert (now.info.run_id, now.info.status) == (before.run_id, "RUNNING")
    assert (now.data.tags["dmx.outcome"], now.data.tags["dmx.reason"]) == ("running", "")
    run.finish(Outcome.COMPLETE, "")
    assert found(client, "again").info.status == "FINISHED"


def test_a_store_that_is_down_costs_nothing_and_gets_everything_later(home, client, monkeypatch, caplog):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{port}")
    run = open_run(home, "down", start())
    begun = time.perf_counter()
    write(run, range(STEPS))
    logging_took = time.perf_counter() - begun
    begun = time.perf_counter()
    unsent = run.finish(Outcome.COMPLETE, "")
    finishing_took = time.perf_counter() - begun
    events = list(read(home.run("down") / "journal.jsonl"))
    assert unsent == len(events) == STEPS + len(PICTURED) + 2
    assert logging_took < 2
    assert finishing_took < 40  # two attempts of 3 s each; 246 s with MLflow's own settings
    assert "MLflow takes no events now" in caplog.text
    assert len(board(home, "down").Scalars("train/loss")) == STEPS
    assert sync(home, "down") == unsent

    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert sync(home, "down") == 0
    check_everything_stands_once(home, client, "down")
    assert not any(b"secret" in file.read_bytes() for file in home.run("down").rglob("*") if file.is_file())


def test_tensorboard_that_cannot_write_harms_nobody(home, client, caplog):
    home.tensorboard("blocked").parent.mkdir(parents=True, exist_ok=True)
    home.tensorboard("blocked").write_text("a file where the folder should be")
    run = open_run(home, "blocked", start())
    write(run, range(STEPS))
    assert run.finish(Outcome.COMPLETE, "") > 0
    assert len(history(client, "blocked", "train/loss")) == STEPS
    assert "TensorBoard takes no events now" in caplog.text
    home.tensorboard("blocked").unlink()
    assert sync(home, "blocked") == 0
    check_everything_stands_once(home, client, "blocked")


def test_another_store_gets_the_whole_run(home, tmp_path, monkeypatch):
    run = open_run(home, "moved", start())
    write(run, range(STEPS))
    run.finish(Outcome.COMPLETE, "")
    elsewhere = f"sqlite:///{tmp_path / 'other.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", elsewhere)
    assert sync(home, "moved") == 0
    check_everything_stands_once(home, MlflowClient(elsewhere), "moved")


def test_thousands_of_scalars_arrive_in_batches(home, client):
    run = open_run(home, "many", start())
    for step in range(1250):
        run.log(step, {"a": step, "b": -step})
    assert run.finish(Outcome.COMPLETE, "") == 0
    assert history(client, "many", "a") == [(step, float(step)) for step in range(1250)]
    assert history(client, "many", "b")[0] == (0, 0.0)
    assert len(history(client, "many", "b")) == 1250


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_fork_waits_for_the_import_of_mlflow():
    """A child that is forked during it would inherit module locks that nobody opens."""
    held = threading.Event()

    def importing() -> None:
        with mlflow_client._importing:
            held.set()
            time.sleep(0.5)

    thread = threading.Thread(target=importing)
    thread.start()
    held.wait()
    begun = time.perf_counter()
    child = os.fork()
    if child == 0:
        os._exit(0 if mlflow_client._importing.acquire(timeout=1) else 1)
    assert time.perf_counter() - begun > 0.4
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    thread.join()
    assert mlflow_client._importing.acquire(blocking=False)
    mlflow_client._importing.release()


def test_how_far_a_store_is_stands_in_the_run(home):
    run = open_run(home, "marks", start())
    run.finish(Outcome.COMPLETE, "")
    size = (home.run("marks") / "journal.jsonl").stat().st_size
    assert json.loads((home.run("marks") / "mlflow.sent").read_text())["sent"] == size
    assert int((home.run("marks") / "tensorboard.sent").read_text()) == size
