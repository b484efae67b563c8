"""The stores themselves: a real MLflow on SQLite and real event files."""

import json
from pathlib import Path

import pytest
from helpers.serving import wait_until
from tensorboard.util.tensor_util import make_ndarray

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
    inputs = {put.tags[0].value: put.dataset for put in mine.inputs.dataset_inputs}
    assert {kind: (put.name, put.digest) for kind, put in inputs.items()} == {
        kind: (f"d {kind}", kind * 3) for kind in ("training", "validation")
    }
    assert json.loads(inputs["training"].profile) == {"samples": "7"}
    assert json.loads(inputs["training"].source) == {"uri": str(stored.home.root)}
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
    wait_until(lambda: stored.found("again").data.tags["dmx.reason"] == "")  # the last that is told of a reopening
    now = stored.found("again")
    assert (now.info.run_id, now.info.status) == (before.run_id, "RUNNING")
    assert now.data.tags["dmx.outcome"] == "running"
    run.finish(Outcome.COMPLETE, "")
    assert stored.found("again").info.status == "FINISHED"


def test_tensorboard_has_what_was_searched_and_how_it_ended(stored):
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    for run_id, outcome in (("tuned", Outcome.PRUNED), ("broken", Outcome.DIVERGED)):
        stored.open(run_id).finish(outcome, "")
        content = stored.board(run_id).PluginTagToContent("hparams")
        begun = HParamsPluginData.FromString(content["_hparams_/session_start_info"]).session_start_info
        assert begun.hparams["optimizer.lr"].number_value == 0.1
        assert begun.hparams["model.name"].string_value == "unet"
        assert begun.hparams["ema"].bool_value
        assert begun.group_name == "first"
        ended = HParamsPluginData.FromString(content["_hparams_/session_end_info"]).session_end_info
        assert ended.status == (1 if outcome is Outcome.PRUNED else 2)


def test_precision_and_recall_stand_by_step(stored):
    run = stored.open("curve")
    stored.write(run, range(3))
    run.finish(Outcome.COMPLETE, "")
    curves = stored.board("curve").Tensors("val/mask")
    assert [event.step for event in curves] == [0, 1, 2]
    hits, false, rejected, misses, precision, recall = make_ndarray(curves[2].tensor_proto)
    assert (hits.tolist(), misses.tolist()) == ([6, 4, 0], [2, 4, 8])
    assert (false.tolist(), rejected.tolist()) == ([10, 2, 0], [40, 48, 50])
    assert precision.tolist() == pytest.approx([6 / 16, 4 / 6, 1])  # nothing is predicted: nothing is wrong
    assert recall.tolist() == [6 / 8, 4 / 8, 0]
    content = stored.board("curve").SummaryMetadata("val/mask").plugin_data
    assert content.plugin_name == "pr_curves"


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
