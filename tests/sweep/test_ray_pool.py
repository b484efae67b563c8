"""Trials as tasks of a real Ray cluster, made for the test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from helpers.killing import assert_nothing_lost_or_doubled, start
from helpers.serving import served, wait_until

Make = Callable[..., dict[str, Any]]
pytestmark = [
    pytest.mark.filterwarnings("ignore:XDG_RUNTIME_DIR is not set"),  # pgserver asks platformdirs
    pytest.mark.filterwarnings("ignore:Argument ``heartbeat_interval`` is an experimental feature"),
]


def tasks_of(pid: int) -> list[psutil.Process]:
    """Ray's processes that have a trial in hand; Ray names them after their task."""
    found = psutil.Process(pid).children(recursive=True)
    return [one for one in found if one.is_running() and (one.cmdline() or [""])[0].startswith("ray::run_trial")]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_ray_cluster_runs_the_trials_and_a_killed_task_costs_none(tmp_path: Path, tiny_study: Make) -> None:
    data = tiny_study(trials=4, pruner={"name": "none"})
    data["experiment"] |= {
        "training": {"log_every": 1, "checkpoint_seconds": 0},
        "stages": [{"epochs": 15, "size": 32, "batch_size": 8}],
    }
    path, home, log = tmp_path / "study.yaml", tmp_path / "home", tmp_path / "log"
    path.write_text(yaml.safe_dump(data))
    with served(tmp_path / "pg") as url:
        process = start(path, home, "--workers", "2", "--storage", url, "--ray", "local", log=log)
        wait_until(lambda: "trial 0: epoch 2/15" in log.read_text() or process.poll() is not None, 180)
        assert process.poll() is None, log.read_text()
        tasks_of(process.pid)[0].kill()
        assert process.wait(300) == 0, log.read_text()
        assert_nothing_lost_or_doubled(data, home, url)
    assert "going on at step" in log.read_text()
