"""What a trial is judged by: its values, whether it should go on, and why not."""

import statistics
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from optuna import Trial
from optuna.trial import FrozenTrial, TrialState

from dmx.config import StudyConfig
from dmx.config.objective import COSTS, Goal
from dmx.config.search import HalvingConfig
from dmx.outcome import Outcome
from dmx.results.ranking import Entry, rank
from dmx.sweep.claims import Claims
from dmx.sweep.fronts import falling, knee, order, ranks
from dmx.sweep.halving import EPOCH, arrive, taken_of, told


def values(goals: Sequence[Goal], metrics: Mapping[str, float | None]) -> list[float] | None:
    """One value a goal; None where one is missing: a missing value is never 0 and never best."""
    found = [metrics.get(goal.metric) for goal in goals]
    return None if any(value is None for value in found) else [float(value) for value in found if value is not None]


def judge(
    trial: Trial,
    claims: Claims,
    config: StudyConfig,
    costs: Mapping[str, float],
    epoch: int,
    metrics: Mapping[str, float | None],
) -> str:
    """Keep what a trial came to in an epoch; gives why it should end, if it should."""
    found = values(config.goals, {**metrics, **costs})
    if found is None:
        return ""
    if config.objectives:
        trial.set_user_attr(f"{EPOCH}{epoch}", found)
        return arrive(trial, claims, config, epoch)
    if epoch not in claims.storage.get_trial(claims.id_of(trial.number)).intermediate_values:
        trial.report(found[0], epoch)
    if isinstance(config.pruner, HalvingConfig):
        return arrive(trial, claims, config, epoch)
    return explained(trial, claims, config, epoch, found[0]) if trial.should_prune() else ""


def explained(trial: Trial, claims: Claims, config: StudyConfig, epoch: int, value: float) -> str:
    """Where a pruned trial stands among the others at its epoch."""
    there = [t.intermediate_values[epoch] for t in claims.trials() if epoch in t.intermediate_values]
    objective = config.experiment.objective
    best = max(there) if objective.direction == "maximize" else min(there)
    return (
        f"{objective.metric} = {value:.4g} after epoch {epoch}; of {len(there)} trials there the median has "
        f"{statistics.median(there):.4g}, the best {best:.4g} ({config.pruner.name})"
    )


def story(trials: Sequence[FrozenTrial], number: int, config: StudyConfig) -> Iterator[str]:
    """What became of a trial, line by line."""
    trial = trials[number]
    outcome = trial.user_attrs.get("outcome", trial.state.name.lower())
    yield f"trial {number}: {outcome}" + (f" ({reason})" if (reason := trial.user_attrs.get("reason")) else "")
    given = trial.system_attrs.get("fixed_params", {})
    for path, value in trial.params.items():
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        yield f"  {path} = {shown}" + (" (given, not drawn)" if path in given else "")
    metric, better = config.experiment.objective.metric, config.experiment.objective.better
    for epoch, value in sorted(trial.intermediate_values.items()):
        there = [t.intermediate_values[epoch] for t in trials if epoch in t.intermediate_values]
        ahead = sum(better(other, than=value) for other in there)
        middle = statistics.median(there)
        yield f"  epoch {epoch}: {metric} {value:.4g}, place {ahead + 1} of {len(there)} there (median {middle:.4g})"
    for _, taken in sorted(taken_of(trial.user_attrs).items()):
        yield from (f"  {told(decision)}" for decision in taken)
    if trial.values and trial.state is TrialState.COMPLETE:
        shown = ", ".join(f"{goal.metric} {v:.4g}" for goal, v in zip(config.goals, trial.values, strict=True))
        yield f"  at its best epoch: {shown}"


def rank_several(entries: Sequence[Entry], goals: Sequence[Goal]) -> tuple[list[Entry], int, str]:
    """Complete runs by non-dominated rank and hypervolume, then the others; the size of the front; and its knee's run.

    Raises:
        UserError: Data, split or metric definitions differ between the runs.
    """
    by_one = rank(entries)
    judged = [(entry, judged_by(entry, goals)) for entry in by_one if entry.result.outcome is Outcome.COMPLETE]
    complete = [(entry, found) for entry, found in judged if found is not None]
    if not complete:
        return by_one, 0, ""
    F = falling([found for _, found in complete], [str(goal.direction) for goal in goals])
    runs = {entry.run for entry, _ in complete}
    ordered = [complete[i][0] for i in order(F)] + [entry for entry in by_one if entry.run not in runs]
    return ordered, int((ranks(F) == 0).sum()), complete[knee(F)][0].run


def judged_by(entry: Entry, goals: Sequence[Goal]) -> list[float] | None:
    """A run's values of the goals at its best epoch."""
    metrics = entry.result.best.metrics if entry.result.best else {}
    return values(goals, {**metrics, **{cost: entry.record.get(cost) for cost in COSTS}})


def front(trials: Sequence[FrozenTrial], directions: Sequence[str]) -> list[FrozenTrial]:
    """The complete trials that no other one dominates."""
    complete = [trial for trial in trials if trial.values and all(np.isfinite(trial.values))]
    if not complete:
        return []
    F = falling([trial.values for trial in complete], directions)
    return [trial for trial, rank in zip(complete, ranks(F), strict=True) if rank == 0]
