"""Each outcome of a trial, on real trials: one state in Optuna, one status in MLflow, with its reason."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from helpers.sweeping import execute, mlflow_runs, optuna_trials
from optuna.trial import TrialState

from dmx.cli.explain import explain
from dmx.cli.leaderboard import leaderboard
from dmx.cli.report import report
from dmx.cli.sweep import conclude
from dmx.config import parse_study
from dmx.losses.masked import depth_pair, masked_mean
from dmx.outcome import Outcome
from dmx.quartet import Batch, Prediction
from dmx.registry import depth_losses
from dmx.results.records import read_result
from dmx.tracking import Home

Make = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.filterwarnings("ignore:The `noload` loader strategy:DeprecationWarning")  # inside MLflow


LIMIT = 15.0  # seconds: far more than a tiny trial takes on a machine with other work


def no_memory(calls: int) -> float:
    torch.empty(2**50, dtype=torch.uint8)
    return 1.0


def defect(calls: int) -> float:
    raise ValueError("a defect")


def away(calls: int) -> float:
    """Gone at the second step of the first attempt only."""
    if calls == 2:
        raise ConnectionResetError("the file server is away")
    return 1.0


def stop(calls: int) -> float:
    if calls == 3:
        os.kill(os.getpid(), signal.SIGINT)
    return 1.0


DEEDS: dict[str, Callable[[int], float]] = {
    "nothing_special": lambda calls: 1.0,
    "not_a_number": lambda calls: float("nan"),
    "no_memory": no_memory,
    "too_slow": lambda calls: time.sleep(LIMIT + 0.5) or 1.0,
    "defect": defect,
    "stop": stop,
    "away": away,
}


@pytest.fixture
def deeds() -> Iterator[list[str]]:
    """Depth losses that do what their names say."""
    calls = dict.fromkeys(DEEDS, 0)

    def make(name: str) -> None:
        @depth_losses.register(name, source="a test", kinds=("metric",))
        def loss(prediction: Prediction, batch: Batch) -> Any:
            """Does what its name says."""
            calls[name] += 1
            y, t, valid = depth_pair(prediction, batch)
            return masked_mean((y - t).abs(), valid) * DEEDS[name](calls[name])

    for name in DEEDS:
        make(name)
    yield [*DEEDS]
    for name in DEEDS:
        depth_losses.pop(name)


EXPECTED = {
    "nothing_special": (Outcome.COMPLETE, TrialState.COMPLETE, "FINISHED", ""),
    "not_a_number": (Outcome.DIVERGED, TrialState.FAIL, "FAILED", "loss/depth is not finite at step 0"),
    "no_memory": (Outcome.OUT_OF_MEMORY, TrialState.FAIL, "FAILED", "can't allocate memory"),
    "too_slow": (Outcome.TIMED_OUT, TrialState.FAIL, "FAILED", "15 s are over at step 1"),
    "defect": (Outcome.CRASHED, TrialState.FAIL, "FAILED", "ValueError: a defect"),
    "too large": (Outcome.PRUNED, TrialState.PRUNED, "FINISHED", "parameters, and limits.parameters is 100,000"),
}


def test_each_outcome_has_its_state_and_its_status(tmp_path: Path, tiny_study: Make, tiny: Make, deeds: Any) -> None:
    own = tiny(loss={"mask": "bce", "depth": "nothing_special"})
    names = [*EXPECTED, "stop"]
    width = "model.depthmasknet.width"
    queue = [{"loss.depth": name, width: 4} for name in names[1:-2]]
    queue += [{"loss.depth": "defect", width: 8}, {"loss.depth": "stop", width: 4}]
    data = tiny_study(
        experiment=own,
        search={"loss.depth": [*names[:-2], "stop"], width: [4, 8]},
        queue=queue,
        limits={"parameters": 100_000},
        trial_timeout=LIMIT,
        trials=len(names),
        pruner="none",
        max_failures=20,
    )
    config = parse_study(data, "study")
    summary = execute(data, tmp_path)
    assert (summary.finished, summary.stopped) == (6, "the same command goes on")
    trials, runs = optuna_trials(config, tmp_path), mlflow_runs(tmp_path)
    for trial, name in zip(trials, EXPECTED, strict=False):
        outcome, state, status, why = EXPECTED[name]
        run = runs[f"tiny-{trial.number:04d}"]
        assert (trial.user_attrs["outcome"], trial.state, run.info.status) == (outcome, state, status), name
        assert run.data.tags["dmx.outcome"] == outcome
        assert run.data.tags.get("dmx.reason", "") == trial.user_attrs["reason"]
        assert why in trial.user_attrs["reason"]
        assert bool(trial.user_attrs["reason"]) == bool(why)
    stopped = runs["tiny-0006"]
    assert (trials[6].state, stopped.info.status) == (TrialState.WAITING, "KILLED")
    assert stopped.data.tags["dmx.outcome"] == Outcome.INTERRUPTED
    assert stopped.data.tags["dmx.reason"] == "SIGINT at step 3"

    assert execute(data, tmp_path).finished == 7
    ended = mlflow_runs(tmp_path)["tiny-0006"]
    assert (optuna_trials(config, tmp_path)[6].state, ended.info.status) == (TrialState.COMPLETE, "FINISHED")
    assert ended.data.tags.get("dmx.reason", "") == ""
    assert ended.info.run_id == stopped.info.run_id


def test_what_may_pass_is_tried_again_and_goes_on(tmp_path: Path, tiny_study: Make, tiny: Make, deeds: Any) -> None:
    """The error ends the worker; the pool counts that, and another worker goes on in the same run."""
    own = tiny(loss={"mask": "bce", "depth": "away"}, training={"log_every": 1, "checkpoint_seconds": 0})
    data = tiny_study(experiment=own, search={"model.depthmasknet.width": [4]}, trials=1)
    ends: list[tuple[str, str, str]] = []

    def look(reason: str) -> None:
        (trial,) = optuna_trials(parse_study(data, "study"), tmp_path)
        run = mlflow_runs(tmp_path)["tiny-0000"]
        assert run.data.tags["dmx.reason"] == reason
        ends.append((trial.state.name, run.info.status, run.info.run_id))

    summary = execute(data, tmp_path, on_death=look)
    assert (summary.complete, summary.failed, summary.stopped) == (1, False, "")
    (trial,) = optuna_trials(parse_study(data, "study"), tmp_path)
    assert trial.user_attrs["error"] == "ConnectionResetError: the file server is away"
    assert trial.user_attrs["died"][1] == 1
    assert ends == [("WAITING", "KILLED", mlflow_runs(tmp_path)["tiny-0000"].info.run_id)]


def test_costs_can_be_objectives_and_limits(tmp_path: Path, tiny_study: Make) -> None:
    data = tiny_study(
        search={"model.depthmasknet.width": [4, 6, 16]},
        sampler="grid",
        trials=3,
        objectives=["latency_ms", "memory_mb"],
        limits={"memory_mb": 12.0},
        pruner="none",
    )
    execute(data, tmp_path)
    trials = optuna_trials(parse_study(data, "study"), tmp_path)
    by_width = {trial.params["model.depthmasknet.width"]: trial for trial in trials}
    assert by_width[16].state is TrialState.PRUNED
    assert "memory_mb, and limits.memory_mb is 12" in by_width[16].user_attrs["reason"]
    for width in (4, 6):
        _, latency, memory = by_width[width].values
        assert 0 < latency < 1000
        assert 0 < memory < 12
        params = mlflow_runs(tmp_path)[f"tiny-{by_width[width].number:04d}"].data.params
        assert float(params["memory_mb"]) == memory
    assert by_width[4].values[2] < by_width[6].values[2]


def test_a_trial_whose_objective_never_had_a_value_is_undefined_everywhere(
    tmp_path: Path, tiny_study: Make, tiny: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """Depths below 0, which a network without a link may predict, have no logarithm."""
    own = tiny(depth_link="identity", loss={"mask": "bce", "depth": "l1"}, optimizer={"name": "sgd", "lr": 1e-9})
    own |= {"objective": "val/depth/rmse_log_pooled", "training": {"log_every": 1, "clip_norm": 1.0}}
    data = tiny_study(experiment=own, search={"training.clip_norm": [1.0, 2.0]}, trials=2, pruner="none")
    data["queue"] = [{"training.clip_norm": 2.0}]
    summary = execute(data, tmp_path)
    assert (summary.finished, summary.complete, summary.stopped) == (2, 0, "")
    reason = "val/depth/rmse_log_pooled had a value in none of 2 epochs"
    for trial in optuna_trials(parse_study(data, "study"), tmp_path):
        run = mlflow_runs(tmp_path)[f"tiny-{trial.number:04d}"]
        assert (trial.state, trial.user_attrs["outcome"], trial.values) == (TrialState.FAIL, "undefined", None)
        assert (run.info.status, run.data.tags["dmx.outcome"]) == ("FAILED", "undefined")
        assert "val_best/epoch" not in run.data.metrics
        stored = read_result(tmp_path / f"runs/tiny-{trial.number:04d}")
        assert stored is not None
        assert stored[0].outcome is Outcome.UNDEFINED
        assert trial.user_attrs["reason"] == run.data.tags["dmx.reason"] == stored[0].reason == reason
    assert conclude("tiny", Home(tmp_path), summary, "") == 1
    assert "No trial is complete: see the outcomes above" in capsys.readouterr().err
    for command, arguments in ((explain, ("tiny", "0")), (leaderboard, ("tiny",)), (report, ("tiny",))):
        said = CliRunner().invoke(command, [*arguments, "--home", str(tmp_path)], catch_exceptions=False)
        assert said.exit_code == 0
        assert "undefined" in said.output or command is report
    assert reason in (tmp_path / "studies/tiny/report.html").read_text()
