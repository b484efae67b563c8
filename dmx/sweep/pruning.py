"""Pruning decisions after each epoch, and their explanation.

Pruners are Optuna's; steps are epochs, counted from 1. Halving is dmx's own, in `dmx.sweep.halving`.
"""

import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence

from optuna import Trial
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, PatientPruner, PercentilePruner
from optuna.trial import FrozenTrial, TrialState

from dmx.config import StudyConfig
from dmx.config.study import (
    HalvingConfig,
    HyperbandConfig,
    MedianConfig,
    PatientConfig,
    PercentileConfig,
    PrunerConfig,
)
from dmx.results.pareto import objective_values
from dmx.sweep.halving import EPOCH, decide, decisions_of, describe
from dmx.sweep.optuna_private import fixed_params
from dmx.sweep.trial_queue import ORIGIN, TrialQueue


def make_pruner(config: PrunerConfig, epochs: int) -> BasePruner:
    """Create Optuna's pruner for trials of `epochs` epochs."""
    match config:
        case MedianConfig():
            return MedianPruner(n_startup_trials=config.startup_trials, n_warmup_steps=config.warmup_epochs + 1)
        case PercentileConfig():
            warmup = config.warmup_epochs + 1
            return PercentilePruner(config.percentile, n_startup_trials=config.startup_trials, n_warmup_steps=warmup)
        case PatientConfig():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return PatientPruner(None, patience=config.patience, min_delta=config.min_delta)
        case HyperbandConfig():
            return HyperbandPruner(min_resource=config.min_epochs, max_resource=epochs, reduction_factor=config.factor)
        case _:
            return NopPruner()


def report_epoch(
    trial: Trial,
    queue: TrialQueue,
    config: StudyConfig,
    costs: Mapping[str, float],
    epoch: int,
    metrics: Mapping[str, float | None],
) -> str:
    """Report a trial's values after an epoch.

    Returns:
        Why the trial is pruned or paused; empty if it continues.
    """
    values = objective_values(config.goals, {**metrics, **costs})
    if values is None:
        return ""
    if config.objectives:
        trial.set_user_attr(f"{EPOCH}{epoch}", values)
        return decide(trial, queue, config, epoch)
    if epoch not in queue.storage.get_trial(queue.trial_id(trial.number)).intermediate_values:
        trial.report(values[0], epoch)
    if isinstance(config.pruner, HalvingConfig):
        return decide(trial, queue, config, epoch)
    return prune_reason(queue, config, epoch, values[0]) if trial.should_prune() else ""


def prune_reason(queue: TrialQueue, config: StudyConfig, epoch: int, value: float) -> str:
    """Explain how a pruned trial's value compares with other trials' at the same epoch."""
    there = [t.intermediate_values[epoch] for t in queue.trials() if epoch in t.intermediate_values]
    objective = config.experiment.objective
    best = max(there) if objective.direction == "maximize" else min(there)
    return (
        f"{objective.metric} = {value:.4g} after epoch {epoch}; of {len(there)} trials there the median has "
        f"{statistics.median(there):.4g}, the best {best:.4g} ({config.pruner.name})"
    )


def explain_trial(trials: Sequence[FrozenTrial], number: int, config: StudyConfig) -> Iterator[str]:
    """Explain a trial line by line: its outcome, values, epochs, and the decisions after them."""
    trial = trials[number]
    outcome = trial.user_attrs.get("outcome", trial.state.name.lower())
    yield f"trial {number}: {outcome}" + (f" ({reason})" if (reason := trial.user_attrs.get("reason")) else "")
    if ORIGIN in trial.user_attrs:
        yield f"  its values are those of {trial.user_attrs[ORIGIN]} (warm_start)"
    for path, value in trial.params.items():
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        yield f"  {path} = {shown}" + (" (given, not drawn)" if path in fixed_params(trial) else "")
    metric, better = config.experiment.objective.metric, config.experiment.objective.better
    for epoch, value in sorted(trial.intermediate_values.items()):
        there = [t.intermediate_values[epoch] for t in trials if epoch in t.intermediate_values]
        ahead = sum(better(other, than=value) for other in there)
        median = statistics.median(there)
        yield f"  epoch {epoch}: {metric} {value:.4g}, rank {ahead + 1} of {len(there)} there (median {median:.4g})"
    for _, taken in sorted(decisions_of(trial.user_attrs).items()):
        yield from (f"  {describe(decision)}" for decision in taken)
    if trial.values and trial.state is TrialState.COMPLETE:
        shown = ", ".join(f"{goal.metric} {v:.4g}" for goal, v in zip(config.goals, trial.values, strict=True))
        yield f"  at its best epoch: {shown}"
        for goal, value in zip(config.goals, trial.values, strict=True):
            if goal.bound is not None:
                missed = goal.shortfall(value)
                yield f"  {'misses' if missed else 'meets'} {goal}" + (f" by {missed:.1%}" if missed else "")
