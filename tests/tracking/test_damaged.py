"""Notes, journals and places of stores that somebody damaged: sent anew, or named with what to do."""

import json
import shutil

import pytest
from click.testing import CliRunner

from dmx.cli.sync import sync as sync_command
from dmx.errors import DataError
from dmx.outcome import Outcome
from dmx.tracking import sync
from dmx.tracking.mlflow_store import read_state
from dmx.tracking.syncing import rebuild

# MLflow 3.17 uses a loader strategy that SQLAlchemy 2.1 calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


@pytest.fixture
def ended(fresh):
    """A run that has ended, with its result."""
    run = fresh.open("ended")
    fresh.write(run, range(fresh.STEPS))
    assert run.finish(Outcome.COMPLETE, "") == 0
    (run.folder / "result.json").write_text("{}")
    return fresh


@pytest.mark.parametrize("left", [None, 0, 3000])
def test_a_journal_that_is_gone_or_cut_is_named_and_its_copy_in_mlflow_stays(ended, left):
    journal = ended.home.run("ended") / "journal.jsonl"
    content = journal.read_bytes()
    journal.unlink() if left is None else journal.write_bytes(content[:left])
    for send in (lambda: sync(ended.home, "ended"), lambda: rebuild(ended.home, lambda done, total: None)):
        with pytest.raises(DataError, match=r"journal\.jsonl: is gone or cut off, though the run has ended; restore"):
            send()
    assert ended.found("ended").info.status == "FINISHED"
    assert not [*ended.home.root.glob("before-rebuild*")]
    journal.write_bytes(content)
    assert sync(ended.home, "ended") == 0
    ended.check_everything_stands_once("ended")


@pytest.mark.parametrize("sent", ["x", None, 17, -1, 1.5, 10**9])
def test_a_note_of_what_was_sent_that_cannot_be_is_no_note(ended, sent):
    note = ended.home.run("ended") / "mlflow.sent"
    note.write_text(json.dumps({**json.loads(note.read_text()), "sent": sent}))
    assert read_state(ended.home, "ended") == {}
    assert sync(ended.home, "ended") == 0
    ended.check_everything_stands_once("ended")


def test_a_run_is_found_in_an_experiment_that_was_renamed(ended):
    before = ended.found("ended")
    ended.client.rename_experiment(before.info.experiment_id, "another name")
    (ended.home.run("ended") / "mlflow.sent").unlink()
    assert sync(ended.home, "ended") == 0
    assert ended.found("ended").info.run_id == before.info.run_id
    assert ended.client.get_experiment_by_name("study one") is None


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("artifacts", "a file stands where a folder is needed: move it"),
        ("tensorboard", "a file stands where a folder is needed: move it"),
        ("mlflow.db", "a folder stands where a file is needed: move it"),
        ("mlflow.lock", "a folder stands where a file is needed: move it"),
    ],
)
def test_a_place_that_is_taken_is_named_with_what_to_do(ended, place, words, caplog):
    path = ended.home.root / place
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.write_text("") if "file stands" in words else path.mkdir()
    for note in ("mlflow.sent", "tensorboard.sent"):
        (ended.home.run("ended") / note).unlink(missing_ok=True)
    done = CliRunner().invoke(
        sync_command, ["--home", str(ended.home.root)], catch_exceptions=False, standalone_mode=False
    )
    assert done.return_value == 1
    assert words in done.output + caplog.text
    assert str(path) in done.output + caplog.text
    path.unlink() if path.is_file() else path.rmdir()
    assert sync(ended.home, "ended") == 0
