"""A run is found by an identity of its own, made when it begins, and not by what it is called."""

import json
import shutil

import pytest

from dmx.outcome import Outcome
from dmx.tracking import sync
from dmx.tracking.journal import started
from dmx.tracking.mlflow_client import IDENTITY_TAG, REPLACED_TAG, runs_named

# MLflow 3.17 uses a loader strategy that SQLAlchemy 2.1 calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


def runs(stored, run_id):
    """MLflow's runs of this name, the one that began first first."""
    group = stored.client.get_experiment_by_name("study one").experiment_id
    return sorted(runs_named(stored.client, group, run_id), key=lambda run: run.info.start_time)


def curve(stored, run, key="train/loss"):
    return [(point.step, point.value) for point in stored.client.get_metric_history(run.info.run_id, key)]


def without_identity(stored, run_id):
    """The journal as it was written before runs had an identity."""
    journal = stored.home.run(run_id) / "journal.jsonl"
    first, rest = journal.read_text().split("\n", 1)
    start = json.loads(first)
    del start["identity"]
    journal.write_text(json.dumps(start) + "\n" + rest)


def test_a_run_begun_anew_is_another_run_in_both_stores(stored):
    run = stored.open("anew")
    run.log(1, {"train/loss": 1.0})
    run.finish(Outcome.COMPLETE, "")
    (old,) = runs(stored, "anew")
    shutil.rmtree(stored.home.run("anew"))

    run = stored.open("anew")
    run.log(1, {"train/loss": 2.0})
    assert run.finish(Outcome.COMPLETE, "") == 0
    first, second = runs(stored, "anew")
    assert (first.info.run_id, curve(stored, first)) == (old.info.run_id, [(1, 1.0)])
    assert curve(stored, second) == [(1, 2.0)]
    assert first.data.tags == {**old.data.tags, REPLACED_TAG: second.info.run_id}
    assert second.data.tags[IDENTITY_TAG] == started(stored.home.run("anew") / "journal.jsonl").identity
    assert second.info.artifact_uri != first.info.artifact_uri
    assert [event.value for event in stored.board("anew").Scalars("train/loss")] == [2.0]
    assert [event.value for event in stored.board("anew.before-1").Scalars("train/loss")] == [1.0]


def test_a_run_begun_anew_with_other_parameters_is_taken(stored):
    """MLflow: "Changing param values is not allowed"."""
    stored.open("other", params={"model.name": "unet"}).finish(Outcome.COMPLETE, "")
    shutil.rmtree(stored.home.run("other"))
    assert stored.open("other", params={"model.name": "fpn"}).finish(Outcome.COMPLETE, "") == 0
    assert [run.data.params["model.name"] for run in runs(stored, "other")] == ["unet", "fpn"]


def test_an_old_journal_finds_its_run_by_name_and_beginning(stored):
    stored.open("old").finish(Outcome.COMPLETE, "")
    (run,) = runs(stored, "old")
    stored.client.delete_tag(run.info.run_id, IDENTITY_TAG)
    without_identity(stored, "old")
    (stored.home.run("old") / "mlflow.sent").unlink()
    assert sync(stored.home, "old") == 0
    assert [found.info.run_id for found in runs(stored, "old")] == [run.info.run_id]


def test_an_old_journal_is_not_taken_for_one_that_was_removed(stored):
    stored.open("older").finish(Outcome.COMPLETE, "")
    (run,) = runs(stored, "older")
    stored.client.delete_tag(run.info.run_id, IDENTITY_TAG)
    shutil.rmtree(stored.home.run("older"))
    stored.open("older", stores=False).finish(Outcome.COMPLETE, "")
    without_identity(stored, "older")
    journal = stored.home.run("older") / "journal.jsonl"
    journal.write_text(journal.read_text().replace('"stores": false', '"stores": true'))
    assert sync(stored.home, "older") == 0
    assert len(runs(stored, "older")) == 2
