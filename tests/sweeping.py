"""Sweeps in this process, and what is left of them."""

from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from dmx.cli.watch import Watch
from dmx.config import StudyConfig, parse_study
from dmx.sweep.claims import Claims
from dmx.sweep.engine import Summary, sweep
from dmx.sweep.storage import open_claims
from dmx.tracking import Home


def execute(data: dict[str, Any], home: Path) -> Summary:
    config = parse_study(data, "study")
    with Watch(config.experiment.objective) as watch:
        return sweep(config, Home(home), watch)


def mlflow_runs(home: Path) -> dict[str, Any]:
    from dmx.tracking.mlflow_client import connect

    client = connect(Home(home))
    group = client.get_experiment_by_name("tiny")
    assert group is not None
    return {run.data.tags["dmx.run"]: run for run in client.search_runs([group.experiment_id])}


def optuna_trials(config: StudyConfig, home: Path) -> list[Any]:
    return open_claims(config, Home(home).study("tiny")).trials()


def claim_next(claims: Claims) -> int | None:
    """Claim the first trial that waits; None where none does."""
    waiting = (trial.number for trial in claims.trials() if trial.state is TrialState.WAITING)
    return next((number for number in waiting if claims.claim(number)), None)
