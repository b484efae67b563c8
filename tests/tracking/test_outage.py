"""A real tracking server is killed while a real run trains."""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.serving import TrackingServer, tracking_server, wait_until

from dmx.tracking import Home
from dmx.tracking.journal import MetricsLogged, read

Make = Callable[..., dict[str, Any]]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    # MLflow 3.17 uses a loader strategy that SQLAlchemy 2.1 calls deprecated.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]
AWAY = 60.0


def dmx(server: TrackingServer, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "dmx", *map(str, arguments)],
        env={**os.environ, "MLFLOW_TRACKING_URI": server.address},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def check_whole(server: TrackingServer, home: Home, run_id: str) -> None:
    """The server has every point of the journal once, and knows the end."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(server.address)
    groups = [group.experiment_id for group in client.search_experiments()]
    (run,) = client.search_runs(groups, f"tags.`dmx.run` = '{run_id}'")
    assert (run.info.status, run.data.tags["dmx.outcome"]) == ("FINISHED", "complete")
    written = Counter(
        (key, event.step, event.time, repr(float(value)))
        for event, _ in read(home.run(run_id) / "journal.jsonl")
        if isinstance(event, MetricsLogged)
        for key, value in event.values.items()
        if "[" not in key
    )
    stored = Counter(
        (key, point.step, point.timestamp, repr(point.value))
        for key in {key for key, *_ in written}
        for point in client.get_metric_history(run.info.run_id, key)
    )
    assert max(written.values()) == 1
    assert stored == written
    assert len(written) > 2000


@pytest.mark.parametrize("back", ["after a minute", "never"])
def test_a_killed_server_costs_the_run_nothing(tiny: Make, tmp_path: Path, back: str) -> None:
    home, seed = Home(tmp_path / "home"), random.SystemRandom().randrange(1000)
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(tiny(name="out", stages=[{"epochs": 350, "size": 32, "batch_size": 2}])))
    with tracking_server(tmp_path) as server:
        training = dmx(server, "train", path, "--home", home.root)
        wait_until(lambda: list(home.root.glob("runs/*/mlflow.sent")))
        (run_id,) = (folder.parent.name for folder in home.root.glob("runs/*/mlflow.sent"))
        time.sleep(random.Random(seed).uniform(1, 8))
        assert training.poll() is None
        server.kill()
        began = time.monotonic()
        if back == "after a minute":
            time.sleep(AWAY)
            assert training.poll() is None, training.communicate()[0]  # else the outage was at the end: more epochs
            server.start()
        said, _ = training.communicate(timeout=600)
        assert training.returncode == 0, (seed, said)
        assert "MLflow takes no events now" in said
        if back == "never":
            assert time.monotonic() - began > 10, said
            assert "nothing is lost: `dmx sync` sends the rest." in said
            assert dmx(server, "sync", "--home", home.root).wait(120) == 1  # still away
            server.start()
        for _ in range(3):
            sending = dmx(server, "sync", "--home", home.root)
            assert "1 runs are whole." in sending.communicate(timeout=300)[0]
            check_whole(server, home, run_id)
