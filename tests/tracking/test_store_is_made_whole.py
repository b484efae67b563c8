"""MLflow's store is made whole or not at all, whenever its maker is killed."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from dmx.tracking import Home
from dmx.tracking.mlflow_client import connect, experiment

MAKE = """
import sys
from pathlib import Path
from dmx.tracking import Home
from dmx.tracking.mlflow_client import connect
connect(Home(Path(sys.argv[1])))
"""


@pytest.mark.filterwarnings("ignore:The `noload` loader strategy:DeprecationWarning")  # inside MLflow
def test_a_kill_in_the_middle_of_the_migrations_costs_nothing(tmp_path: Path) -> None:
    """MLflow left `table _alembic_tmp_jobs already exists`, and no client could open the store again."""
    home = Home(tmp_path)
    making = subprocess.Popen([sys.executable, "-c", MAKE, str(tmp_path)])
    part, deadline = tmp_path / "mlflow.db.part", time.monotonic() + 120
    while not (part.exists() and part.stat().st_size > 300_000):  # the whole store has some 800,000 bytes
        assert time.monotonic() < deadline
        assert making.poll() is None
        time.sleep(0.005)
    making.kill()
    making.wait()
    assert not home.mlflow_db.exists()

    client = connect(home)
    assert home.mlflow_db.exists()
    assert not part.exists()
    group = experiment(client, home, "after")
    run = client.create_run(group)
    client.log_metric(run.info.run_id, "m", 1.0)
    assert connect(home).get_run(run.info.run_id).data.metrics == {"m": 1.0}
