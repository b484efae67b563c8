"""The stores themselves: a real MLflow on SQLite and real event files."""

import json
import time
from pathlib import Path

import pytest

from dmx.outcome import Outcome
from dmx.tracking import sync
from dmx.tracking.journal import Finished, read

# MLflow 3.17 uses a loader strategy that SQLAlchemy 2.1 calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


def test_what_is_sent_twice_stands_once(stored):
    run = stored.open("twice")
    stored.write(run, range(stored.STEPS))
    run.finish(Outcome.COMPLETE, "")
    before = stored.found("twice").info.run_id
    for name in ("mlflow.sent", "tensorboard.sent"):  # as if killed between sending and noting it
        (stored.home.run("twice") / name).unlink()
    assert sync(stored.home, "twice") == 0
    assert stored.found("twice").info.run_id == before
    stored.check_everything_stands_once("twice")


def test_a_run_has_everything_of_its_start(stored):
    run = stored.open("start", "a name")
    (run.folder / "best.bin").write_bytes(b"weights")
    run.artifact(run.folder / "best.bin", "model")
    run.finish(Outcome.COMPLETE, "")
    mine = stored.found("start")
    assert mine.info.run_name == "a name"
    assert mine.data.params == {"model.name": "unet", "optimizer.lr": "0.1", "none": "None"}
    assert mine.data.tags["dmx.study"] == "s"
    group = stored.client.get_experiment(mine.info.experiment_id)
    assert (group.name, group.artifact_location) == ("study one", (stored.home.artifacts / "study_one").as_uri())
    assert [file.path for file in stored.client.list_artifacts(mine.info.run_id)] == ["config.yaml", "model"]
    kept = Path(stored.client.download_artifacts(mine.info.run_id, "model/best.bin"))
    assert kept.read_bytes() == b"weights"
    events = stored.board("start")
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
def test_an_outcome_is_a_status_and_a_tag(stored, outcome, status):
    run_id = f"outcome-{outcome}"
    stored.open(run_id).finish(outcome, "x" * 9000)
    run = stored.found(run_id)
    assert run.info.status == status
    assert run.data.tags["dmx.outcome"] == outcome.value
    assert run.data.tags["dmx.reason"] == "x" * 8000
    last = [event for event, _ in read(stored.home.run(run_id) / "journal.jsonl")][-1]
    assert isinstance(last, Finished)
    assert run.info.end_time == last.time


def test_an_interrupted_run_runs_again_when_reopened(stored):
    stored.open("again").finish(Outcome.INTERRUPTED, "ctrl-C")
    before = stored.found("again").info
    run = stored.open("again")
    run.log(1, {"a": 1.0})
    deadline = time.monotonic() + 20
    while stored.found("again").info.status != "RUNNING" and time.monotonic() < deadline:
        time.sleep(0.1)
    now = stored.found("again")
    assert (now.info.run_id, now.info.status) == (before.run_id, "RUNNING")
    assert (now.data.tags["dmx.outcome"], now.data.tags["dmx.reason"]) == ("running", "")
    run.finish(Outcome.COMPLETE, "")
    assert stored.found("again").info.status == "FINISHED"


def test_thousands_of_scalars_arrive_in_batches(stored):
    run = stored.open("many")
    for step in range(1250):
        run.log(step, {"a": step, "b": -step})
    assert run.finish(Outcome.COMPLETE, "") == 0
    assert stored.history("many", "a") == [(step, float(step)) for step in range(1250)]
    assert stored.history("many", "b")[0] == (0, 0.0)
    assert len(stored.history("many", "b")) == 1250


def test_how_far_a_store_is_stands_in_the_run(stored):
    run = stored.open("marks")
    run.finish(Outcome.COMPLETE, "")
    size = (stored.home.run("marks") / "journal.jsonl").stat().st_size
    assert json.loads((stored.home.run("marks") / "mlflow.sent").read_text())["sent"] == size
    assert int((stored.home.run("marks") / "tensorboard.sent").read_text()) == size
