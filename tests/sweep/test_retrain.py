"""The best trial at full budget, chosen on validation, read once on test, registered and loadable."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers.sweeping import execute

from dmx.cli.train_best import tell_finalists
from dmx.cli.watch import Watch
from dmx.compare.race import certainty
from dmx.config import Objective, parse_study
from dmx.deliver.champion import register, tracking_at
from dmx.errors import UserError
from dmx.experiment import prepare
from dmx.results.ranking import rank, results
from dmx.sweep.definition import load_config
from dmx.sweep.retrain import BestReport, pick_finalists, retrain_config, train_best
from dmx.tracking import Home
from dmx.training.checkpoint import load_weights

Make = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.filterwarnings("ignore:The `noload` loader strategy:DeprecationWarning")  # inside MLflow


def test_the_champion_is_the_best_seed_and_comes_back_from_the_registry(tmp_path: Path, tiny_study: Make) -> None:
    config = parse_study(tiny_study(trials=2), "study")
    home = Home(tmp_path)
    objective = config.experiment.objective
    with Watch(objective) as watch:
        with pytest.raises(UserError, match=r"no study 'tiny' in .*`dmx sweep` makes one"):
            train_best("tiny", home, watch)
        execute(tiny_study(trials=2), tmp_path)
        report = train_best("tiny", home, watch)

        values = {entry.run: entry.result.best.value for entry in report.seeds if entry.result.best}
        assert len(values) == 2
        assert report.champion == min(values, key=lambda run: values[run])
        assert report.spread(objective.metric) == (
            pytest.approx(np.mean(list(values.values()))),
            pytest.approx(np.std(list(values.values()), ddof=1)),
        )
        best = min(results(home, "tiny"), key=lambda entry: entry.result.best.value if entry.result.best else np.inf)
        assert report.trial == best.run
        for entry in report.seeds:
            assert entry.record["params"]["stages"] == "1x32@8"

        check_readings(home, report, lambda: train_best("tiny", home, watch).test)

    assert report.prepared is not None
    with pytest.MonkeyPatch.context() as patch:  # a server that is not there
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        with pytest.raises(UserError, match="the champion is trained and chosen, but MLflow did not take it"):
            register(home, report.prepared, report.champion, "tiny", report.trial)
    version = register(home, report.prepared, report.champion, "tiny", report.trial)
    assert register(home, report.prepared, report.champion, "tiny", report.trial) == version == 1
    check_registered(home, report.champion, report.trial, report.test["test/depth/rmse_pooled"])


def test_finalists_are_trained_anew_and_the_mean_over_seeds_decides(
    tmp_path: Path, tiny_study: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """Interrupted after the first seed of the second finalist; the same command goes on with the next."""
    stages = [{"epochs": 1, "size": 32, "batch_size": 8}]
    data = tiny_study(trials=3, train_best={"finalists": 2, "seeds": [0, 1], "stages": stages}, pruner="none")
    execute(data, tmp_path)
    home, goals = Home(tmp_path), list(parse_study(data, "study").goals)
    by_value = [entry.run for entry in rank(results(home, "tiny"))]
    chosen = pick_finalists(results(home, "tiny"), goals, 2)
    assert chosen == by_value[:2]
    assert pick_finalists(results(home, "tiny"), goals, 1) == by_value[:1]

    started: list[str] = []
    with Stopping(parse_study(data, "study").experiment.objective, started) as watch, pytest.raises(KeyboardInterrupt):
        train_best("tiny", home, watch)
    assert started == [f"{chosen[0]} at full budget, seed 0", f"{chosen[1]} at full budget, seed 0", "stop"]
    with Watch(parse_study(data, "study").experiment.objective) as watch:
        report = train_best("tiny", home, watch)
    retrained = results(home, "tiny", role="best")
    assert len(retrained) == 2 * len(report.seeds) == 4
    assert {one.trial for one in report.finalists} == set(chosen)
    assert report.trials == 3
    first, second = report.finalists
    assert first.values[0] <= second.values[0]
    assert report.trial == first.trial
    assert first.values[0] == pytest.approx(np.mean([entry.result.best.value for entry in report.seeds]))  # type: ignore[union-attr]
    tell_finalists(report.finalists, report.trials)
    said = capsys.readouterr().out
    assert "2 of 3 complete trials were trained anew; mean over seeds:" in said
    assert f"  {first.trial}: {first.values[0]:.4g} (2 seeds)\n" in said
    assert certainty(report.finalists) in said


class Stopping(Watch):
    """Stops before the third training."""

    def __init__(self, objective: Objective, started: list[str]) -> None:
        super().__init__(objective)
        self.seen = started

    def trial_started(self, number: int, trials: int, values: Mapping[str, Any]) -> None:
        self.seen.append("stop" if number == 2 else values["model"])
        if number == 2:
            raise KeyboardInterrupt
        assert trials == 4
        super().trial_started(number, trials, values)


def check_readings(home: Home, report: BestReport, again: Callable[[], Any]) -> None:
    """What was read of test is not read again, and stays on record when another network leads."""
    stored = home.study("tiny") / "best.json"
    kept = json.loads(stored.read_text())
    when = kept["when"]
    assert report.test is not None
    who = kept.pop("identity")
    record = json.loads((home.run(report.champion) / "result.json").read_text())
    assert who == {key: record[key] for key in ("data", "split", "fingerprint")}
    assert kept == {"champion": report.champion, "test": report.test, "when": when, "earlier": []}
    assert report.readings == "Test has been read for this network alone."
    test = {"test/depth/rmse_pooled": -1.0}
    marked = {"champion": report.champion, "identity": who, "test": test, "when": when}
    stored.write_text(json.dumps(marked))  # a second reading of test would overwrite it
    assert again() == marked["test"]
    other = {
        "champion": "an-earlier-one",
        "identity": None,
        "test": {"test/depth/rmse_pooled": -2.0},
        "when": "2026-01-02",
    }
    stored.write_text(json.dumps({**other, "earlier": [marked]}))  # another trial led in between
    assert again() == marked["test"]
    assert json.loads(stored.read_text()) == {**marked, "earlier": [{**other, "earlier": []}]}
    before = {**marked, "identity": {**who, "data": "another"}}
    stored.write_text(json.dumps(before))
    assert again() == report.test
    assert json.loads(stored.read_text())["earlier"] == [{**before, "earlier": []}]


def test_seeds_must_differ(tiny_study: Make) -> None:
    with pytest.raises(UserError, match=r"train_best\.seeds: must differ, but got \[0, 0\]"):
        parse_study(tiny_study(train_best={"seeds": [0, 0]}), "study")


def check_registered(home: Home, champion: str, trial: str, rmse: float | None) -> None:
    import mlflow

    client = mlflow.MlflowClient(home.mlflow_uri)
    version = client.get_model_version_by_alias("tiny", "champion")
    assert (version.tags["dmx.run"], version.tags["dmx.trial_run"], version.tags["dmx.study"]) == (
        champion,
        trial,
        "tiny",
    )
    run = client.get_run(version.run_id)
    assert run.data.tags["dmx.run"] == champion
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/depth/rmse_pooled"] == rmse

    with tracking_at(home):
        model = mlflow.pyfunc.load_model("models:/tiny@champion")
        assert not list(Path(mlflow.artifacts.download_artifacts("models:/tiny@champion")).rglob("*.pkl"))
    assert "MLFLOW_TRACKING_URI" not in os.environ
    picture = np.random.default_rng(0).integers(0, 255, (2, 48, 40, 3), dtype=np.uint8)
    given = model.predict({"image": picture, "background": picture})
    assert given["mask"].shape == given["depth"].shape == (2, 48, 40)
    assert ((given["mask"] >= 0) & (given["mask"] <= 1)).all()

    study = load_config(home, "tiny")
    seed = yaml.safe_load((home.run(champion) / "config.yaml").read_text())["seed"]
    prepared = prepare(retrain_config(study, trial, home, seed), home)
    load_weights(home.run(champion) / "best.safetensors", prepared.model)
    low, high = prepared.index.depth.low, prepared.index.depth.high
    assert ((given["depth"] >= low) & (given["depth"] <= high)).all()
