"""What a trial is judged by: its values, whether it should go on, and why not."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from optuna import Trial
from optuna.trial import FrozenTrial

from dmx.config import StudyConfig
from dmx.config.objective import SIZES, Goal
from dmx.config.search import HalvingConfig
from dmx.experiment.ranking import Entry, rank
from dmx.outcome import Outcome
from dmx.sweep.claims import Claims
from dmx.sweep.fronts import falling, knee, order, ranks

EPOCH = "epoch "
"""Before the number of an epoch: where a trial keeps its values of several objectives; Optuna's reports take one."""
DECISION = "decision"


def values(goals: Sequence[Goal], metrics: Mapping[str, float | None]) -> list[float] | None:
    """One value a goal; None where one is missing: a missing value is never 0 and never best."""
    found = [metrics.get(goal.metric) for goal in goals]
    return None if any(value is None for value in found) else [float(value) for value in found if value is not None]


def judge(
    trial: Trial,
    claims: Claims,
    config: StudyConfig,
    sizes: Mapping[str, float],
    epoch: int,
    metrics: Mapping[str, float | None],
) -> str:
    """Keep what a trial came to in an epoch; gives why it should end, if it should."""
    found = values(config.goals, {**metrics, **sizes})
    if found is None:
        return ""
    if config.objectives:
        trial.set_user_attr(f"{EPOCH}{epoch}", found)
        return halve(trial, claims, config, epoch) if isinstance(config.pruner, HalvingConfig) else ""
    if epoch not in claims.storage.get_trial(claims.id_of(trial.number)).intermediate_values:
        trial.report(found[0], epoch)
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


def halve(trial: Trial, claims: Claims, config: StudyConfig, epoch: int) -> str:
    """Asynchronous successive halving with several objectives: of all who got here, one of every η goes on.

    Source: Schmucker et al. 2021, "Multi-objective asynchronous successive halving", in the form that stops trials: at
    the rungs r η^k a trial goes on if it is among the best ⌈n/η⌉ of the n that have got there, itself included. The
    decision and what it was made of is kept with the trial.
    """
    pruner = config.pruner
    assert isinstance(pruner, HalvingConfig)
    rungs = [pruner.min_epochs * pruner.factor**k for k in range(32)]
    if epoch not in rungs:
        return ""
    there = {t.number: t.user_attrs[f"{EPOCH}{epoch}"] for t in claims.trials() if f"{EPOCH}{epoch}" in t.user_attrs}
    F = falling(list(there.values()), [str(goal.direction) for goal in config.goals])
    numbers, kept = list(there), -(-len(there) // pruner.factor)
    place = order(F).index(numbers.index(trial.number)) + 1
    decision = {
        "epoch": epoch,
        "rank": int(ranks(F)[numbers.index(trial.number)]),
        "place": place,
        "trials": len(there),
        "kept": kept,
        "values": there[trial.number],
    }
    trial.set_user_attr(f"{DECISION} {epoch}", decision)
    return "" if place <= kept else told(decision)


def told(decision: Mapping[str, Any]) -> str:
    """A decision of `halve` in a sentence."""
    went = "went on" if decision["place"] <= decision["kept"] else "ended"
    shown = ", ".join(f"{value:.4g}" for value in decision["values"])
    return (
        f"{went} after epoch {decision['epoch']} with {shown}: place {decision['place']} of {decision['trials']} "
        f"(non-dominated rank {decision['rank']}), where {decision['kept']} go on"
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
    for key, decision in trial.user_attrs.items():
        if key.startswith(DECISION):
            yield f"  {told(decision)}"
    if trial.values:
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
    return values(goals, {**metrics, **{size: entry.record.get(size) for size in SIZES}})


def front(trials: Sequence[FrozenTrial], directions: Sequence[str]) -> list[FrozenTrial]:
    """The complete trials that no other one dominates."""
    complete = [trial for trial in trials if trial.values and all(np.isfinite(trial.values))]
    if not complete:
        return []
    F = falling([trial.values for trial in complete], directions)
    return [trial for trial, rank in zip(complete, ranks(F), strict=True) if rank == 0]
