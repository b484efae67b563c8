"""Workers in processes of their own: what they do together, and what a killed one leaves."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from helpers.killing import assert_nothing_lost_or_doubled, chaos, start, workers_of
from optuna.trial import TrialState

from dmx.config import parse_study
from dmx.sweep.trial_queue import open_queue
from dmx.tracking import Home

Make = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.filterwarnings("ignore:The `noload` loader strategy:DeprecationWarning")  # inside MLflow


@pytest.fixture
def long_study(tiny_study: Make) -> Make:
    """Trials of some seconds that keep every step."""

    def make(epochs: int, **changes: Any) -> dict[str, Any]:
        data = tiny_study(**changes)
        data["experiment"] |= {
            "training": {"log_every": 1, "checkpoint_seconds": 0},
            "stages": [{"epochs": epochs, "size": 32, "batch_size": 8}],
        }
        return data

    return make


def wait_until(true: Callable[[], Any], seconds: float = 90.0) -> Any:
    """What `true` gives as soon as that is anything."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def trials_of(data: dict[str, Any], home: Path) -> list[Any]:
    return open_queue(parse_study(data, "study"), Home(home).study("tiny")).trials()


def written(home: Path, trial: int, lines: int) -> bool:
    path = home / f"runs/tiny-{trial:04d}/journal.jsonl"
    return path.exists() and path.read_bytes().count(b"\n") >= lines


def test_two_workers_share_the_trials_and_a_killed_one_costs_none(tmp_path: Path, long_study: Make) -> None:
    data = long_study(10, trials=5, pruner={"name": "none"})
    path, log, home = tmp_path / "study.yaml", tmp_path / "log", tmp_path / "home"
    path.write_text(yaml.safe_dump(data))
    process = start(path, home, "--workers", "2", log=log)
    wait_until(lambda: written(home, 0, 12) and written(home, 1, 12))  # side by side, in the middle
    wait_until(lambda: workers_of(process))[0].kill()
    assert process.wait(120) == 0, log.read_text()
    assert_nothing_lost_or_doubled(data, home)
    assert [trial.state for trial in trials_of(data, home)] == [TrialState.COMPLETE] * 5
    assert "going on at step" in log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_saves_and_goes_on_and_leaves_no_process(
    tmp_path: Path, long_study: Make, number: int
) -> None:
    data = long_study(40, trials=2, pruner={"name": "none"})
    path, log, home = tmp_path / "study.yaml", tmp_path / "log", tmp_path / "home"
    path.write_text(yaml.safe_dump(data))
    process = start(path, home, "--workers", "2", log=log)
    wait_until(lambda: written(home, 0, 12) and written(home, 1, 12))
    family = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, number)
    assert process.wait(60) == 130, log.read_text()
    assert "Interrupted; the same command goes on." in log.read_text()
    assert not psutil.wait_procs(family, 10)[1]
    assert [trial.state for trial in trials_of(data, home)] == [TrialState.WAITING] * 2
    assert start(path, home, log=log).wait(120) == 0, log.read_text()
    assert_nothing_lost_or_doubled(data, home)


@pytest.mark.slow
def test_a_worker_that_is_asked_to_end_is_replaced(tmp_path: Path, long_study: Make) -> None:
    data = long_study(40, trials=1)
    path, log, home = tmp_path / "study.yaml", tmp_path / "log", tmp_path / "home"
    path.write_text(yaml.safe_dump(data))
    process = start(path, home, log=log)
    wait_until(lambda: written(home, 0, 12))
    workers_of(process)[0].terminate()
    assert process.wait(120) == 0, log.read_text()
    assert_nothing_lost_or_doubled(data, home)
    assert trials_of(data, home)[0].state is TrialState.COMPLETE
    assert "died" not in trials_of(data, home)[0].user_attrs


@pytest.mark.slow
def test_workers_go_with_their_pool(tmp_path: Path, long_study: Make) -> None:
    data = long_study(500, trials=2)
    path, home = tmp_path / "study.yaml", tmp_path / "home"
    path.write_text(yaml.safe_dump(data))
    process = start(path, home, "--workers", "2", log=tmp_path / "log")
    wait_until(lambda: written(home, 0, 12) and written(home, 1, 12))
    workers = workers_of(process)
    assert len(workers) == 2
    process.kill()
    assert not psutil.wait_procs(workers, 10)[1]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_kills(tmp_path: Path, long_study: Make) -> None:
    """40 trials on 4 workers; a worker, the pool or both are killed a hundred times."""
    data = long_study(70, trials=40, pruner={"name": "median", "startup_trials": 8, "warmup_epochs": 4})
    path, log, home = tmp_path / "study.yaml", tmp_path / "log", tmp_path / "home"
    path.write_text(yaml.safe_dump(data))
    kills = chaos(path, home, 100, "--workers", "4", seed=0, log=log, pause=2.0)
    assert kills.total() == 100, kills
    assert_nothing_lost_or_doubled(data, home)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_one_worker_killed_again_and_again_finds_what_an_undisturbed_one_finds(
    tmp_path: Path, long_study: Make
) -> None:
    data = long_study(16, trials=40)
    path, log = tmp_path / "study.yaml", tmp_path / "log"
    path.write_text(yaml.safe_dump(data))
    kills = chaos(path, tmp_path / "killed", 25, seed=1, log=log, pause=3.0)
    assert kills.total() >= 8, kills  # fewer than 25 where the machine comes to the end before
    assert start(path, tmp_path / "whole", log=log).wait(600) == 0, log.read_text()[-3000:]
    assert_nothing_lost_or_doubled(data, tmp_path / "killed")
    killed, whole = trials_of(data, tmp_path / "killed"), trials_of(data, tmp_path / "whole")
    for one, other in zip(killed, whole, strict=True):
        assert (one.state, one.params, one.value) == (other.state, other.params, other.value)
        assert one.intermediate_values == other.intermediate_values
