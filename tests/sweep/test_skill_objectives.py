"""A study whose objectives are skills, to Optuna and MLflow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.sweeping import execute, mlflow_runs, optuna_trials

from dmx.config import parse_study
from dmx.results.ranking import results
from dmx.results.references import below, references_of_entries, standings
from dmx.tracking import Home

pytestmark = pytest.mark.filterwarnings("ignore:The `noload` loader strategy:DeprecationWarning")  # inside MLflow


def test_trials_are_judged_by_skill_and_tagged(tiny: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    goals = ["val/depth/skill_pooled", "val/mask/skill_pooled"]
    stages = [{"epochs": 1, "size": 16, "batch_size": 8}]
    data = {
        "name": "tiny",
        "experiment": tiny(objective=goals[0], stages=stages, optimizer={"name": "adamw", "lr": 1e-3}),
        "objectives": [goals[1]],
        "search": {"model.depthmasknet.width": [4, 6]},
        "trials": 2,
        "pruner": "none",
    }
    assert execute(data, tmp_path).complete == 2
    config = parse_study(data, "study")
    assert [goal.direction for goal in config.goals] == ["maximize", "maximize"]
    home, runs = Home(tmp_path), mlflow_runs(tmp_path)
    entries = {entry.run: entry for entry in results(home, "tiny")}
    for trial in optuna_trials(config, tmp_path):
        entry, run = entries[f"tiny-{trial.number:04d}"], runs[f"tiny-{trial.number:04d}"]
        assert entry.result.best is not None
        metrics = entry.result.best.metrics
        assert trial.values == [metrics[goal] for goal in goals]
        assert trial.values == [run.data.metrics[goal.replace("val/", "val_best/")] for goal in goals]
        assert max(trial.values) < 1
        found = standings(references_of_entries(home, [entry]), goals, metrics)
        assert [one.reference for one in found] == ["mean_map", "background_difference"]
        assert run.data.tags["dmx.below_reference"] == below(found)
        assert "background difference: val/mask/skill_pooled" in below(found)  # after one epoch
    assert len([*home.references.glob("*/references.json")]) == 1
