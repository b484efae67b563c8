"""What others offer for the same, by their own code: Optuna, Ray Tune and Syne Tune.

Of Ray Tune its searcher and its scheduler decide; the cluster around them, which only trains, is not started. Likewise
with Syne Tune, which is not among the development packages, as it brings XGBoost: pip install syne-tune.
"""

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import optuna
from optuna import Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import HyperbandPruner
from optuna.samplers import TPESampler
from optuna.trial import TrialState
from replay import Job
from replay_table import Table
from table_spaces import key

from dmx.registry import Choice
from dmx.sweep.suggest import baseline_params, distribution


def asked(table: Table, trial: Any) -> str:
    """The configuration that Optuna proposes for a trial of its own, dimension by dimension."""
    values: dict[str, Any] = {}
    for dimension in table.space.dimensions:
        if dimension.applies(values):
            values[dimension.path] = suggest_value(trial, dimension.path, distribution(dimension))
    return key(values)


def suggest_value(trial: Any, path: str, wanted: BaseDistribution) -> Any:
    """Ask a trial for a value."""
    if isinstance(wanted, CategoricalDistribution):
        return trial.suggest_categorical(path, wanted.choices)
    if isinstance(wanted, IntDistribution):
        return trial.suggest_int(path, wanted.low, wanted.high, step=wanted.step, log=wanted.log)
    assert isinstance(wanted, FloatDistribution)
    return trial.suggest_float(path, wanted.low, wanted.high, step=wanted.step, log=wanted.log)


class OptunaHyperband:
    """Optuna's TPE with its Hyperband pruner, as its documentation shows them; the first trial is that of `dmx`."""

    def __init__(self, table: Table, seed: int) -> None:
        self.table = table
        pruner = HyperbandPruner(min_resource=1, max_resource=table.task.epochs, reduction_factor=3)
        self.study = optuna.create_study(study_name=f"study {seed}", sampler=TPESampler(seed=seed), pruner=pruner)
        self.study.enqueue_trial(baseline_params(table.space))

    def next(self) -> Job | None:
        """See `replay.Search`."""
        trial = self.study.ask()
        return Job(self.table.rows[asked(self.table, trial)], 0, trial)

    def goes_on(self, job: Job, epoch: int) -> bool:
        """See `replay.Search`."""
        trial: Trial = job.trial
        trial.report(self._value(job, epoch), epoch)
        if trial.should_prune():
            self.study.tell(trial, state=TrialState.PRUNED)
            return False
        return True

    def ends(self, job: Job, epoch: int) -> None:
        """See `replay.Search`."""
        if self.table.lengths[job.row] < self.table.task.epochs:
            self.study.tell(job.trial, state=TrialState.FAIL)
        else:
            self.study.tell(job.trial, min(self._value(job, e) for e in range(1, epoch + 1)))

    def _value(self, job: Job, epoch: int) -> float:
        return float(self.table.values[job.row, epoch - 1, self.table.own])


class RayAsha:
    """Ray Tune's OptunaSearch with its ASHA scheduler; the first trial is that of `dmx`."""

    def __init__(self, table: Table, seed: int) -> None:
        from ray.tune.schedulers import ASHAScheduler
        from ray.tune.search.optuna import OptunaSearch

        self.table, self.count = table, 0
        first = [baseline_params(table.space)]
        self.search = OptunaSearch(
            lambda trial: {"row": asked(table, trial)}, metric="value", mode="min", seed=seed, points_to_evaluate=first
        )
        self.scheduler = ASHAScheduler(
            metric="value", mode="min", max_t=table.task.epochs, grace_period=1, reduction_factor=3
        )

    def next(self) -> Job | None:
        """See `replay.Search`."""
        trial = SimpleNamespace(trial_id=f"{self.count:05d}", config={}, last_result={})
        self.count += 1
        row = self.search.suggest(trial.trial_id)["row"]
        self.scheduler.on_trial_add(None, trial)
        return Job(self.table.rows[row], 0, trial)

    def goes_on(self, job: Job, epoch: int) -> bool:
        """See `replay.Search`."""
        trial, result = job.trial, self._result(job, epoch)
        if self.scheduler.on_trial_result(None, trial, result) == self.scheduler.CONTINUE:
            self.search.on_trial_result(trial.trial_id, result)
            return True
        self.search.on_trial_complete(trial.trial_id, result)
        return False

    def ends(self, job: Job, epoch: int) -> None:
        """See `replay.Search`."""
        trial = job.trial
        if self.table.lengths[job.row] < self.table.task.epochs:
            self.scheduler.on_trial_error(None, trial)
            self.search.on_trial_complete(trial.trial_id, error=True)
        else:
            result = self._result(job, epoch)
            self.scheduler.on_trial_complete(None, trial, result)
            self.search.on_trial_complete(trial.trial_id, result)

    def _result(self, job: Job, epoch: int) -> dict[str, Any]:
        return {"value": float(self.table.values[job.row, epoch - 1, self.table.own]), "training_iteration": epoch}


class SyneTune:
    """A scheduler of Syne Tune's `baselines`; the first trial is that of `dmx`.

    Its spaces know no conditions, so it also chooses values that do not apply. Its BOHB (Falkner et al. 2018) has
    asynchronous halving in place of Hyperband.
    """

    def __init__(self, table: Table, seed: int, scheduler: str) -> None:
        from syne_tune.config_space import choice, ordinal
        from syne_tune.optimizer import baselines

        self.table, self.count, space = table, 0, {}
        first = {dimension.path: dimension.ends()[0] for dimension in table.space.dimensions}
        for dimension in table.space.dimensions:
            assert isinstance(dimension.search, Choice)
            values = dimension.search.values
            if len(values) == 1:
                space[dimension.path] = values[0]
            elif all(type(value) is float for value in values):
                space[dimension.path] = ordinal(sorted(values), kind="equal")
            else:
                space[dimension.path] = choice([*values])
        self.scheduler = getattr(baselines, scheduler)(
            space,
            "value",
            time_attr="epoch",
            max_t=table.task.epochs,
            random_seed=seed,
            points_to_evaluate=[first | baseline_params(table.space)],
        )

    def next(self) -> Job | None:
        """See `replay.Search`."""
        from syne_tune.backend.trial_status import Trial as SyneTrial

        found = self.scheduler.suggest()
        trial = SyneTrial(self.count, found.config, datetime.now())
        self.count += 1
        self.scheduler.on_trial_add(trial)
        values: dict[str, Any] = {}
        for dimension in self.table.space.dimensions:
            if dimension.applies(values):
                values[dimension.path] = found.config[dimension.path]
        return Job(self.table.rows[key(values)], 0, trial)

    def goes_on(self, job: Job, epoch: int) -> bool:
        """See `replay.Search`."""
        return bool(self.scheduler.on_trial_result(job.trial, self._result(job, epoch)) == "CONTINUE")

    def ends(self, job: Job, epoch: int) -> None:
        """See `replay.Search`."""
        if self.table.lengths[job.row] < self.table.task.epochs:
            self.scheduler.on_trial_error(job.trial)
        else:
            self.scheduler.on_trial_complete(job.trial, self._result(job, epoch))

    def _result(self, job: Job, epoch: int) -> dict[str, Any]:
        return {"value": float(self.table.values[job.row, epoch - 1, self.table.own]), "epoch": epoch}
