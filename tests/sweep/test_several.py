"""Studies with several objectives: judged, halved, explained, ranked and picked from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.sweeping import execute, mlflow_runs, optuna_trials
from optuna.trial import TrialState

from dmx.cli.watch import Watch
from dmx.config import parse_study
from dmx.errors import ConfigError, UserError
from dmx.results.pareto import rank_runs, ranks, to_minimize
from dmx.results.ranking import results
from dmx.sweep.halving import paused_at
from dmx.sweep.pruning import explain_trial
from dmx.sweep.retrain import deciding, pick_finalists, train_best
from dmx.tracking import Home

Make = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.filterwarnings("ignore:The `noload` loader strategy:DeprecationWarning")  # inside MLflow
GOALS = ["val/mask/iou_pooled", "parameters"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """A halved study of three objectives, made once."""
    return tmp_path_factory.mktemp("several")


@pytest.fixture
def data(tiny_study: Make) -> dict[str, Any]:
    made = tiny_study(objectives=GOALS, trials=8, pruner={"name": "halving", "min_epochs": 1, "factor": 2})
    made["experiment"]["stages"] = [{"epochs": 3, "size": 32, "batch_size": 8}]
    return made


def ready(data: dict[str, Any], home: Path) -> list[Any]:
    execute(data, home)
    return optuna_trials(parse_study(data, "study"), home)


def test_every_trial_has_its_values_or_was_halved_for_a_reason(data: dict[str, Any], home: Path) -> None:
    trials = ready(data, home)
    runs = mlflow_runs(home)
    signs = np.array([1, -1, 1])
    for trial in trials:
        run = runs[f"tiny-{trial.number:04d}"]
        assert "decision 1" in trial.user_attrs
        assert bool(paused_at(trial.user_attrs)) == (trial.state is TrialState.PRUNED)
        if trial.state is TrialState.COMPLETE:
            names = ("val_best/depth/rmse_pooled", "val_best/mask/iou_pooled")
            assert trial.values[:2] == [run.data.metrics[name] for name in names]
            assert trial.values[2] == int(run.data.params["parameters"])
        else:
            assert run.data.tags["dmx.reason"] == trial.user_attrs["reason"]
            assert trial.user_attrs["reason"].startswith(f"paused after epoch {paused_at(trial.user_attrs)} ")
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    # the decision of the last trial, taken again from what was there
    first = [trial.user_attrs["epoch 1"] for trial in trials]
    rank = ranks(np.array(first) * signs)
    assert trials[-1].user_attrs["decision 1"][0]["rank"] == rank[-1]
    assert trials[-1].user_attrs["decision 1"][0]["kept"] == 4
    metrics = runs["tiny-study"].data.metrics
    complete = [trial.values for trial in trials if trial.state is TrialState.COMPLETE]
    assert metrics["trials/front"] == (ranks(np.array(complete) * signs) == 0).sum()
    assert metrics["trials/hypervolume"] >= 0


def test_the_story_of_a_trial(data: dict[str, Any], home: Path) -> None:
    trials = ready(data, home)
    config = parse_study(data, "study")
    pruned = next(trial for trial in trials if trial.state is TrialState.PRUNED)
    text = "\n".join(explain_trial(trials, pruned.number, config))
    assert text.startswith(f"trial {pruned.number}: pruned (paused after epoch")
    assert f"  optimizer = {pruned.params['optimizer']}" in text
    own = "\n".join(explain_trial(trials, 0, config))
    assert "  optimizer = adamw (given, not drawn)" in own


def test_the_front_comes_first_and_its_knee_is_picked(data: dict[str, Any], home: Path) -> None:
    ready(data, home)
    config, entries = parse_study(data, "study"), results(Home(home), "tiny")
    ordered, size, knee = rank_runs(entries, config.goals)
    complete = [entry for entry in ordered if entry.result.outcome == "complete"]
    assert ordered[: len(complete)] == complete
    F = to_minimize(
        [
            [
                entry.result.best.metrics["val/depth/rmse_pooled"],
                entry.result.best.metrics["val/mask/iou_pooled"],
                entry.record["parameters"],
            ]
            for entry in complete
            if entry.result.best
        ],
        ["minimize", "maximize", "minimize"],
    )
    assert (ranks(F)[:size] == 0).all()
    assert (ranks(F)[size:] > 0).all()

    def picked(pick: str | None, most: int = 1) -> list[str]:
        return pick_finalists(complete, deciding(config, pick), most)

    assert picked(None) == picked("knee") == [knee]
    best = max(complete, key=lambda entry: entry.result.best.metrics["val/mask/iou_pooled"])  # type: ignore[union-attr]
    assert picked("val/mask/iou_pooled") == [best.run]
    smallest = {entry.run: entry.record["parameters"] for entry in complete}
    (least,) = picked("parameters", most=3)  # a cost has no noise
    assert smallest[least] == min(smallest.values())
    with pytest.raises(UserError, match="--pick val/mask/iou: study 'tiny' has no such objective; did you mean"):
        picked("val/mask/iou")


def test_train_best_trains_what_is_picked(data: dict[str, Any], home: Path) -> None:
    ready(data, home)
    with Watch(parse_study(data, "study").experiment.objective) as watch:
        report = train_best("tiny", Home(home), watch, "parameters")
    entries = {entry.run: entry for entry in results(Home(home), "tiny")}
    least = min(entry.record["parameters"] for entry in entries.values() if entry.result.outcome == "complete")
    assert entries[report.trial].record["parameters"] == least
    assert json.loads((home / "studies/tiny/best.json").read_text())["champion"] == report.champion


def test_what_does_not_go_with_several_objectives_is_refused(tiny_study: Make) -> None:
    with pytest.raises(ConfigError, match="'median' knows one objective, but the study has 2; take halving or none"):
        parse_study(tiny_study(objectives="parameters"), "study")
    with pytest.raises(ConfigError, match="objectives name one twice"):
        parse_study(tiny_study(objectives="val/depth/rmse_pooled", pruner="none"), "study")
    with pytest.raises(ConfigError, match=r"no validation metric 'parameter'; did you mean 'parameters'\?"):
        parse_study(tiny_study(objectives="parameter", pruner="none"), "study")
