"""What MLflow says no to for good is told from an outage, with the way out; what it has lost, it gets again."""

import shutil
import sqlite3
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from click.testing import CliRunner
from helpers.serving import wait_until

from dmx.cli.sync import sync as sync_command
from dmx.outcome import Outcome
from dmx.tracking import Home, RunStart, open_run, sync
from dmx.tracking.mlflow_client import refusal

# MLflow 3.17 uses a loader strategy that SQLAlchemy 2.1 calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


def synced(stored):
    done = CliRunner().invoke(
        sync_command, ["--home", str(stored.home.root)], catch_exceptions=False, standalone_mode=False
    )
    return done.return_value, done.output.lstrip()  # the bar's line


@pytest.fixture
def two(fresh):
    """A home with two runs."""
    for run_id in ("one", "two"):
        run = fresh.open(run_id)
        fresh.write(run, range(fresh.STEPS))
        assert run.finish(Outcome.COMPLETE, "") == 0
    return fresh


def test_a_run_that_is_deleted_while_it_is_written_stays_deleted_until_it_is_restored(stored, caplog):
    run = stored.open("deleted")
    stored.write(run, range(20))
    wait_until(lambda: (stored.home.run("deleted") / "mlflow.sent").exists())
    mine = stored.found("deleted").info.run_id
    stored.client.delete_run(mine)
    stored.write(run, range(20, stored.STEPS))
    assert run.finish(Outcome.COMPLETE, "") == 0  # nothing that anybody misses
    (told,) = caplog.messages
    way = f"MLFLOW_TRACKING_URI={stored.home.mlflow_uri} mlflow runs restore --run-id {mine}"
    assert told == (
        f"run deleted was deleted in MLflow, which gets no more of it. To have it back: `{way}`; "
        "then `dmx sync` sends what is missing. The journal keeps it all."
    )
    stored.client.restore_run(mine)
    assert sync(stored.home, "deleted") == 0
    stored.check_everything_stands_once("deleted")
    assert stored.found("deleted").info.run_id == mine


def test_runs_of_a_deleted_experiment_are_left_out_until_it_is_restored(two, caplog):
    two.open("kept", group="gone").finish(Outcome.COMPLETE, "")
    group = two.client.get_experiment_by_name("gone").experiment_id
    two.client.delete_experiment(group)
    for run_id in ("three", "four"):
        assert two.open(run_id, group="gone").finish(Outcome.COMPLETE, "") == 0
    way = f"MLFLOW_TRACKING_URI={two.home.mlflow_uri} mlflow experiments restore --experiment-id {group}"
    assert caplog.messages == [
        "experiment 'gone' was deleted in MLflow, which gets no more of its runs. To have it back: "
        f"`{way}`; then `dmx sync` sends what is missing. Or give new runs another `name`. The journal keeps it all."
    ]
    for _ in range(2):
        assert synced(two) == (
            0,
            "Left out: 2 whose run or experiment was deleted in MLflow (four, three).\n3 runs are whole.\n",
        )
    two.client.restore_experiment(group)
    assert synced(two) == (0, "5 runs are whole.\n")
    assert two.found("three").info.status == "FINISHED"


@pytest.mark.parametrize("what", ["store", "run", "artifacts", "tensorboard", "older copy"])
def test_what_a_store_has_lost_is_sent_again(two, tmp_path, what):
    if what == "store":
        two.home.mlflow_db.unlink()
    elif what == "run":  # removed for good, as `mlflow gc` does
        with sqlite3.connect(two.home.mlflow_db) as store:
            for table in ("metrics", "latest_metrics", "params", "tags", "runs"):
                store.execute(f"DELETE FROM {table} WHERE run_uuid = ?", [two.found("one").info.run_id])
    elif what == "artifacts":
        shutil.rmtree(two.home.artifacts)
    elif what == "tensorboard":
        shutil.rmtree(two.home.root / "tensorboard")
    else:
        with sqlite3.connect(two.home.mlflow_db) as store:  # as it was in the middle of the run
            store.execute("UPDATE runs SET status = 'RUNNING', end_time = NULL")
            store.execute("DELETE FROM metrics WHERE step > 10")
    assert synced(two) == (0, "2 runs are whole.\n")
    for run_id in ("one", "two"):
        two.check_everything_stands_once(run_id)
        assert two.found(run_id).info.status == "FINISHED"


def test_a_store_that_is_removed_while_a_run_is_written_is_made_anew(two):
    run = two.open("three")
    two.write(run, range(20))
    wait_until(lambda: (two.home.run("three") / "mlflow.sent").exists())
    two.home.mlflow_db.unlink()
    two.write(run, range(20, two.STEPS))
    assert run.finish(Outcome.COMPLETE, "") == 0
    two.check_everything_stands_once("three")
    assert synced(two) == (0, "3 runs are whole.\n")
    two.check_everything_stands_once("one")


def test_a_store_of_another_version_is_left_as_it_is(two):
    older = two.home.root / "older.db"
    shutil.copyfile(two.home.mlflow_db, older)
    with sqlite3.connect(older) as store:
        store.execute("UPDATE alembic_version SET version_num = '76601a5f987d'")
    older.replace(two.home.mlflow_db)
    two.open("three").finish(Outcome.COMPLETE, "")
    code, said = synced(two)
    assert code == 1
    assert f"`mlflow db upgrade {two.home.mlflow_uri}` (or install the newer MLflow that wrote it)" in said
    assert "3 runs looked at; 2 events could not be sent." in said
    with sqlite3.connect(two.home.mlflow_db) as store:
        assert store.execute("SELECT version_num FROM alembic_version").fetchone() == ("76601a5f987d",)


def test_a_damaged_store_is_named_with_the_way_out(two):
    two.home.mlflow_db.unlink()
    two.home.mlflow_db.write_bytes(b"no database" * 500)
    code, said = synced(two)
    assert code == 1
    assert "MLflow's store is damaged" in said
    assert "`dmx sync --rebuild` sets it aside and makes another." in said
    assert "2 runs were sent once; whether MLflow still has them is not known." in said


def test_what_the_shell_has_of_other_runs_changes_nothing(two, monkeypatch):
    for name, value in {"RUN_ID": "0" * 32, "EXPERIMENT_ID": "77", "ENABLE_ASYNC_LOGGING": "true"}.items():
        monkeypatch.setenv(f"MLFLOW_{name}", value)
    two.home.mlflow_db.unlink()
    assert synced(two) == (0, "2 runs are whole.\n")
    two.check_everything_stands_once("one")


@pytest.fixture
def answering() -> Iterator[HTTPServer]:
    """A gate before a server that answers everything with one code."""

    class Gate(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(self.server.code)
            self.end_headers()
            self.wfile.write(b"<html>no</html>")

        do_POST = do_GET  # noqa: N815  # the library's names

        def log_message(self, *_) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Gate)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (401, "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"),
        (403, "have the server's administrator allow it"),
        (404, "MLflow refuses this and will again (API request to"),
        (413, "a file is larger than the server"),
        (429, None),
        (500, None),
        (503, None),
    ],
)
def test_a_refusal_is_told_from_an_outage(answering, monkeypatch, code, words):
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    answering.code, address = code, f"http://127.0.0.1:{answering.server_port}"
    with pytest.raises(Exception, match=r"^API request|too many") as error:
        MlflowClient(address).search_experiments()
    meant = refusal(error.value, address, local=False)
    if words is None:
        assert meant is None
    else:
        assert words in str(meant)
        assert "then `dmx sync` sends what is missing." in str(meant)
        assert len(str(meant)) < 2000


def test_a_server_that_is_not_there_is_an_outage(monkeypatch):
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(Exception, match="Connection refused") as error:
        MlflowClient("http://127.0.0.1:9").search_experiments()
    assert refusal(error.value, "http://127.0.0.1:9", local=False) is None


def test_odd_and_long_names_and_values_arrive(stored):
    odd = "ü\n'\"%20#?" * 2000
    start = RunStart(
        "study one",
        "läufe \"1\" 'ü' 100% #?",
        tags={"a//b/" + "k" * 300: odd, "ä": odd},
        params={"p" * 300: odd, "/x[ü]": odd},
        inputs=[{"name": "n" * 600, "digest": "d", "root": "/a b/ü#?%20", "context": "training"}],
    )
    run = open_run(stored.home, "odd", start)
    run.log(1, {"m" * 300: 1.0, "val/x[a=1]/": 2.0})
    assert run.finish(Outcome.COMPLETE, odd) == 0
    mine = stored.found("odd")
    assert mine.info.run_name == start.name
    assert {len(value) for key, value in mine.data.params.items()} == {6000}
    assert mine.data.tags["dmx.reason"] == odd[:8000]
    assert mine.data.metrics["val/x a 1"] == 2.0


def test_a_home_with_any_name_holds_all_that_is_its_own(stored, empty_store, tmp_path):
    for name in ("what?", "r%20x", "läufe 実験 #1", "q'u\"o&;", "s3:"):
        home = Home(tmp_path / name / "mlruns")
        home.root.mkdir(parents=True)
        shutil.copyfile(empty_store, home.mlflow_db)
        other = type(stored)(home)
        assert other.open("r").finish(Outcome.COMPLETE, "") == 0
        assert other.found("r").info.status == "FINISHED"
        assert [path.read_text() for path in home.artifacts.rglob("config.yaml")] == ["lr: 0.1\n"]
        other.client.create_registered_model("champion")
        assert [model.name for model in other.client.search_registered_models()] == ["champion"]
        assert [path.name for path in tmp_path.iterdir()] == [name]
        shutil.rmtree(tmp_path / name)
