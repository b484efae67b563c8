"""Whole sweeps on real stores: all trials, once each, whatever is killed."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.sweeping import execute, mlflow_runs, optuna_trials
from optuna.trial import TrialState

from dmx.config import parse_study
from dmx.errors import UserError
from dmx.experiment import Tracking, prepare, run
from dmx.outcome import Outcome
from dmx.registry import depth_losses
from dmx.results.ranking import rank, results
from dmx.sweep.definition import check_unchanged
from dmx.sweep.study import exclusive
from dmx.tracking import Home, forwarder_client
from dmx.tracking.forwarder_client import ForwarderClient, forwarder
from dmx.tracking.mlflow_client import connect
from dmx.tracking.mlflow_forms import TAG

Make = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.filterwarnings("ignore:The `noload` loader strategy:DeprecationWarning")  # inside MLflow


def test_a_sweep_runs_its_trials_once_and_every_store_agrees(tmp_path: Path, tiny_study: Make) -> None:
    first = execute(tiny_study(), tmp_path)
    assert (first.finished, first.ran, first.stopped, first.unsent) == (4, 4, "", 0)
    assert execute(tiny_study(), tmp_path).ran == 0
    more = execute(tiny_study(trials=5), tmp_path)
    assert (more.finished, more.ran) == (5, 1)

    config = parse_study(tiny_study(), "study")
    trials = optuna_trials(config, tmp_path)
    runs = mlflow_runs(tmp_path)
    assert set(runs) == {"tiny-study", *(f"tiny-{number:04d}" for number in range(5))}
    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    for trial in trials:
        run = runs[f"tiny-{trial.number:04d}"]
        assert states[run.data.tags["dmx.outcome"]] is trial.state
        assert run.info.status == "FINISHED"
        assert run.data.tags["dmx.study"] == "tiny"
        assert run.data.params["loss.depth"] == trial.params["loss.depth"]
        assert run.data.params["optimizer"] == trial.params["optimizer"]
        if trial.state is TrialState.COMPLETE:
            assert run.data.metrics["val_best/depth/rmse_pooled"] == trial.value
    best = rank(results(Home(tmp_path), "tiny"))[0]
    assert best.result.best is not None
    assert best.result.best.value == min(trial.value for trial in trials if trial.state is TrialState.COMPLETE)
    assert runs["tiny-study"].data.metrics["trials/complete"] + runs["tiny-study"].data.metrics["trials/pruned"] == 5
    check_view(tmp_path, best.run)


class Hasty:
    """A forwarder that nobody waits for at the end of a trial."""

    def __init__(self) -> None:
        self.made = ForwarderClient()

    def open(self, home: Home, run_id: str) -> None:
        self.made.open(home, run_id)

    def finish(self, home: Home, run_id: str, patience: float) -> None:
        self.made.finish(home, run_id, patience if run_id.endswith("-study") else 0.0)


def test_what_stores_lack_is_counted_when_the_sweep_ends(
    tmp_path: Path, tiny_study: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty, before = Hasty(), forwarder()
    assert isinstance(before, ForwarderClient)
    before.stop()  # nobody else could once it is out of the cache
    monkeypatch.setattr(forwarder_client, "_instead", [hasty])
    forwarder.cache_clear()
    try:
        assert execute(tiny_study(trials=2), tmp_path).unsent == 0
    finally:
        hasty.made.stop()
        forwarder.cache_clear()


def check_view(home: Path, best: str) -> None:
    """MLflow's saved view finds the trials, the best first, and every run has what its columns name."""
    client = connect(Home(home))
    group = client.get_experiment_by_name("tiny")
    assert group is not None
    view = json.loads(group.tags[TAG])
    assert view["name"] == "Trials, best first"
    state = json.loads(zlib.decompress(base64.b64decode(view["state"].removeprefix("deflate;"))))
    order = f"{state['orderByKey']} {'ASC' if state['orderByAsc'] else 'DESC'}"
    trials = client.search_runs([group.experiment_id], state["searchFilter"], order_by=[order])
    assert len(trials) == 5
    assert trials[0].data.tags["dmx.run"] == best
    params = [column[8:-1] for column in state["selectedColumns"] if column.startswith("params.")]
    assert {"loss.depth", "optimizer", "model.width", "optimizer.lr"} <= {*params}
    assert "optimizer.momentum" not in params  # one of the two has none
    metrics = [column[9:-1] for column in state["selectedColumns"] if column.startswith("metrics.")]
    assert metrics == ["val_best/depth/rmse_pooled", "val_best/mask/iou_pooled"]
    for trial in trials:
        assert {*params} <= {*trial.data.params}
        assert {*metrics} <= {*trial.data.metrics}
    parallel, *lines = state["compareRunCharts"]
    assert (parallel["selectedParams"], parallel["selectedMetrics"]) == (params, metrics[:1])
    assert [line["metricKey"] for line in lines] == ["val/depth/rmse_pooled", "val/mask/iou_pooled"]


def test_a_changed_study_is_refused_with_the_difference(tmp_path: Path, tiny_study: Make) -> None:
    execute(tiny_study(trials=1), tmp_path)
    changed = tiny_study(seed=3, trials=1)
    with pytest.raises(UserError) as caught:
        execute(changed, tmp_path)
    assert "was made by another configuration:\n  seed: 0 -> 3\n" in str(caught.value)
    assert "Give the changed study another `name`" in str(caught.value)


def test_other_data_is_refused_by_a_study_and_by_a_run(tmp_path: Path, tiny_study: Make, tiny_data: Path) -> None:
    data, copy = tiny_study(trials=1), tmp_path / "data"
    shutil.copytree(tiny_data, copy)
    data["experiment"]["data"]["root"] = str(copy)
    execute(data, tmp_path)
    rows = (copy / "samples.csv").read_text().splitlines(keepends=True)
    (copy / "samples.csv").write_text("".join(rows[:-4]))
    with pytest.raises(UserError, match=r"study 'tiny' was started with other data and split than .* gives now"):
        execute({**data, "trials": 2}, tmp_path)
    (tmp_path / "runs/tiny-0000/result.json").unlink()
    config, home = parse_study(data, "study"), Home(tmp_path)
    with pytest.raises(UserError, match=r"run tiny-0000 was started with other data and split"):
        run(prepare(config.experiment, home), home, "tiny-0000", Tracking("e"))


def test_an_objective_that_is_never_defined_fails_the_trial(tmp_path: Path, tiny_study: Make, tiny: Make) -> None:
    """The logarithm of depth below 0 is not defined, and a missing value is never the best."""
    loss = {"mask": "bce", "depth": "l1"}
    experiment = tiny(depth_link="identity", objective="val/depth/rmse_log_pooled", loss=loss)
    data = tiny_study(experiment=experiment, search={"optimizer": ["sgd"], "optimizer.sgd.lr": 1e-4}, trials=1)
    assert execute(data, tmp_path).finished == 1
    assert [trial.state for trial in optuna_trials(parse_study(data, "study"), tmp_path)] == [TrialState.FAIL]


def test_a_users_mistake_in_a_trial_stops_the_sweep_and_keeps_the_trial(tmp_path: Path, tiny_study: Make) -> None:
    data = tiny_study(search={"stages.0.batch_size": [4, 8], "data.root": ["nowhere"]}, trials=3)
    with pytest.raises(UserError, match="nowhere: no such folder of data"):
        execute(data, tmp_path)
    assert [t.state for t in optuna_trials(parse_study(data, "study"), tmp_path)] == [TrialState.WAITING] * 3


def test_two_sweeps_of_one_study_are_refused(tmp_path: Path) -> None:
    expected = pytest.raises(UserError, match=r"another process works on the study in .*; wait until it")
    with exclusive(tmp_path), expected, exclusive(tmp_path):
        pass


@pytest.fixture
def crashing() -> Iterator[str]:
    @depth_losses.register("crashing", source="a test", kinds=("metric",))
    def crashing(prediction: Any, batch: Any) -> Any:
        """Fails."""
        raise RuntimeError("a defect")

    yield "crashing"
    depth_losses.pop("crashing")


def test_a_crashed_trial_fails_and_the_others_go_on(tmp_path: Path, tiny_study: Make, crashing: str) -> None:
    data = tiny_study(search={"loss.depth": ["l1", crashing]}, trials=4, pruner={"name": "none"})
    assert execute(data, tmp_path).finished == 4
    trials = optuna_trials(parse_study(data, "study"), tmp_path)
    by_loss = {(trial.params["loss.depth"], trial.state) for trial in trials}
    assert by_loss == {("l1", TrialState.COMPLETE), (crashing, TrialState.FAIL)}
    failed = next(trial for trial in trials if trial.state is TrialState.FAIL)
    assert failed.user_attrs["outcome"] == Outcome.CRASHED
    assert failed.user_attrs["reason"] == "RuntimeError: a defect"
    assert mlflow_runs(tmp_path)[f"tiny-{failed.number:04d}"].info.status == "FAILED"


def start(path: Path, home: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dmx", "sweep", str(path), "--home", str(home)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(path: Path, process: subprocess.Popen[str], lines: int = 1) -> None:
    """Until the journal at `path` has so many lines."""
    deadline = time.monotonic() + 120
    while not (path.exists() and path.read_bytes().count(b"\n") >= lines):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_stopped_sweep_goes_on_to_the_same_end(tmp_path: Path, tiny_study: Make, number: int) -> None:
    """Stopped in the middle of trial 1, the same command ends with the trials of a sweep that was not stopped."""
    data = tiny_study(pruner={"name": "none"}, trials=3)
    data["experiment"] |= {"training": {"log_every": 1, "checkpoint_seconds": 0}}
    data["experiment"]["stages"] = [{"epochs": 12, "size": 32, "batch_size": 8}]
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(data))
    home = tmp_path / "stopped"

    process = start(path, home)
    wait_for(home / "runs/tiny-0001/journal.jsonl", process, lines=8)
    os.kill(process.pid, number)
    said, _ = process.communicate(timeout=60)
    if number == signal.SIGINT:
        assert process.returncode == 130, said
        assert "Interrupted; the same command goes on." in said
        assert mlflow_runs(home)["tiny-0001"].info.status == "KILLED"

    config = parse_study(data, "study")
    assert execute(data, home).finished == 3
    whole = tmp_path / "whole"
    assert execute(data, whole).finished == 3
    for stopped, straight in zip(optuna_trials(config, home), optuna_trials(config, whole), strict=True):
        assert (stopped.state, stopped.params) == (straight.state, straight.params)
        assert stopped.value == straight.value
        assert stopped.intermediate_values == straight.intermediate_values
    runs = mlflow_runs(home)
    assert {name: run.info.status for name, run in runs.items()} == dict.fromkeys(mlflow_runs(whole), "FINISHED")


def test_a_study_from_before_a_setting_that_it_does_not_use_goes_on(tiny_study: Make) -> None:
    config = parse_study(tiny_study(), "test")
    stored = config.dump()
    assert stored["experiment"]["training"].pop("batch_norm") == "fresh"
    check_unchanged(config, stored, "its folder")
    stored["experiment"]["training"]["batch_norm"] = "running"
    with pytest.raises(UserError, match=r"experiment.training.batch_norm: 'running' -> None"):
        check_unchanged(config, stored, "its folder")
