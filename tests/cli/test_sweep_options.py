"""What `dmx sweep`, `dmx explain` and `dmx leaderboard` say and take."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.sweeping import execute, optuna_trials
from optuna.trial import TrialState

from dmx.config import parse_study

Run = Callable[..., Any]
Make = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.filterwarnings("ignore:The `noload` loader strategy:DeprecationWarning")  # inside MLflow


@pytest.fixture
def study(tiny: Make) -> dict[str, Any]:
    return {
        "name": "tiny",
        "experiment": tiny(),
        "search": {"optimizer": ["adamw", "sgd"], "model.depthmasknet.width": [4, 6]},
        "trials": 3,
        "pruner": {"name": "median", "startup_trials": 1, "warmup_epochs": 0},
    }


@pytest.mark.parametrize("given", ["2", "h", "0s", "-1h", "2 h", "2y"])
def test_a_time_has_a_unit(dmx: Run, tmp_path: Path, given: str) -> None:
    said = dmx("sweep", tmp_path / "x.yaml", "--timeout", given)
    assert said.code == 2
    assert f"'{given}' is no duration; write for instance 90s, 30m, 2h or 1.5d." in said.err


def test_when_the_time_is_up_nothing_is_lost(dmx: Run, tmp_path: Path, study: dict[str, Any]) -> None:
    study["experiment"]["stages"] = [{"epochs": 4000, "size": 32, "batch_size": 8}]
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    said = dmx("sweep", path, "--timeout", "12s", "--home", tmp_path)
    assert said.code == 130
    assert "Interrupted; the time is up; the same command goes on." in said.out
    states = [trial.state for trial in optuna_trials(parse_study(study, "study"), tmp_path)]
    assert states == [TrialState.WAITING] * 3


def test_explain_tells_what_became_of_a_trial(dmx: Run, tmp_path: Path, study: dict[str, Any]) -> None:
    execute(study, tmp_path)
    said = dmx("explain", "tiny", 0, "--home", tmp_path)
    assert said.code == 0
    lines = said.out[said.out.index("trial 0: complete\n") :].splitlines()  # behind what the sweep said
    assert "  optimizer = adamw (given, not drawn)" in lines
    assert any(line.startswith("  epoch 2: val/depth/rmse_pooled") and "rank" in line for line in lines)
    assert lines[-1].startswith("  at its best epoch: val/depth/rmse_pooled")
    refused = dmx("explain", "tiny", 7, "--home", tmp_path)
    assert (refused.code, refused.err) == (2, "Error: study 'tiny' has no trial 7; its trials are 0 to 2.\n")
    assert "no study 'tony'" in dmx("explain", "tony", 0, "--home", tmp_path).err
    assert "Study tiny" in dmx("leaderboard", "tiny", "--home", tmp_path).out
