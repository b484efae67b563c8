"""Trials that end without a whole training: answered from the record, too large, too long, not to be built."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.sweeping import execute, mlflow_runs, optuna_trials
from optuna.trial import TrialState

from dmx.config import parse_study
from dmx.registry import models

Make = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.filterwarnings("ignore:The `noload` loader strategy:DeprecationWarning")  # inside MLflow


def test_what_was_tried_already_is_answered_from_the_record(tmp_path: Path, tiny_study: Make) -> None:
    search = {"loss.depth": ["l1", "berhu"], "loss.depth.berhu.threshold": 0.2}
    data = tiny_study(search=search, trials=5, pruner={"name": "none"})
    assert execute(data, tmp_path).finished == 5
    trials = optuna_trials(parse_study(data, "study"), tmp_path)
    firsts: dict[str, Any] = {}
    runs = mlflow_runs(tmp_path)
    for trial in trials:
        first = firsts.setdefault(trial.params["loss.depth"], trial)
        tags = runs[f"tiny-{trial.number:04d}"].data.tags
        assert tags["dmx.outcome"] == "complete"
        assert trial.value == first.value == runs[f"tiny-{trial.number:04d}"].data.metrics["val_best/depth/rmse_pooled"]
        assert trial.intermediate_values == first.intermediate_values
        if trial is not first:
            assert trial.user_attrs["reason"] == tags["dmx.reason"] == f"the same as trial {first.number}"
    assert len(firsts) < 5
    trained = [run for run in (tmp_path / "runs").iterdir() if (run / "best.safetensors").exists()]
    assert len(trained) == len(firsts)


def test_a_network_beyond_the_limits_is_not_trained(tmp_path: Path, tiny_study: Make) -> None:
    search = {"model.depthmasknet.width": [4, 6]}
    data = tiny_study(search=search, limits={"parameters": 1e5}, trials=3, pruner={"name": "none"})
    assert execute(data, tmp_path).finished == 3
    trials = optuna_trials(parse_study(data, "study"), tmp_path)
    assert {
        t.params["model.depthmasknet.width"]: t.state for t in trials if "the same" not in t.user_attrs["reason"]
    } == {
        4: TrialState.COMPLETE,
        6: TrialState.PRUNED,
    }
    pruned = next(trial for trial in trials if trial.state is TrialState.PRUNED)
    assert pruned.user_attrs["reason"].endswith(" parameters, and limits.parameters is 100,000")
    assert pruned.constraints.keys() == {"limits.parameters"}  # by how much, for the sampler
    assert "train/loss" not in (tmp_path / f"runs/tiny-{pruned.number:04d}/journal.jsonl").read_text()
    assert mlflow_runs(tmp_path)[f"tiny-{pruned.number:04d}"].data.tags["dmx.outcome"] == "pruned"


def test_a_trial_beyond_its_time_ends_as_timed_out(tmp_path: Path, tiny_study: Make) -> None:
    data = tiny_study(trials=1, trial_timeout=1e-3)
    assert execute(data, tmp_path).finished == 1
    (trial,) = optuna_trials(parse_study(data, "study"), tmp_path)
    assert (trial.state, trial.user_attrs["outcome"]) == (TrialState.FAIL, "timed-out")
    assert trial.user_attrs["reason"] == "0.001 s are over at step 1"
    run = mlflow_runs(tmp_path)["tiny-0000"]
    assert (run.info.status, run.data.tags["dmx.outcome"]) == ("FAILED", "timed-out")


def test_a_trial_that_cannot_even_be_built_stands_in_every_record(tmp_path: Path, tiny_study: Make) -> None:
    @models.register("unbuildable", source="a test")
    def unbuildable() -> Any:
        """Fails."""
        raise RuntimeError("no such layer")

    try:
        data = tiny_study(search={"model": ["unbuildable"]}, trials=1)
        assert execute(data, tmp_path).finished == 1
    finally:
        models.pop("unbuildable")
    assert optuna_trials(parse_study(tiny_study(), "study"), tmp_path)[0].state is TrialState.FAIL
    run = mlflow_runs(tmp_path)["tiny-0000"]
    assert (run.info.status, run.data.tags["dmx.reason"]) == ("FAILED", "RuntimeError: no such layer")
