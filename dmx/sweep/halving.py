"""Asynchronous successive halving: after each rung, an epoch, the best of every η trials go on.

A trial that reaches a rung is paused there unless it is among the best; it goes on from its checkpoint as soon as it
is, when more have reached the rung. So no epoch is trained twice, and no budget goes to a trial only because it came
early.

Source: Li et al. 2020, "A system for massively parallel hyperparameter tuning"; with several objectives the best are
those of the first non-dominated ranks, as in Schmucker et al. 2021, "Multi-objective asynchronous successive halving".
They compare two choices within a rank, NSGA-II's crowding and an epsilon-net; ours is a third (`pareto.order`).
Deviations: trial 0, the study's own experiment, is never paused, because all others are compared with it; and when all
trials have begun, one of every η is rounded up, so that a small study, too, has a best trial with the full budget.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from optuna import Trial
from optuna.trial import FrozenTrial, TrialState

from dmx.config import StudyConfig
from dmx.config.objective import Goal
from dmx.config.study import HalvingConfig
from dmx.outcome import Outcome
from dmx.results.pareto import order, ranks, to_minimize
from dmx.sweep.trial_queue import TrialQueue

EPOCH = "epoch "
"""Before an epoch's number: the user attribute with the values of several objectives, for Optuna's reports take one."""
DUPLICATE_OF = "same as"
"""The user attribute in which a trial keeps the number of the trial that it repeats."""
DECISION = "decision "
"""Before an epoch's number: the user attribute with the decisions made there, the latest last."""
Decision = Mapping[str, Any]
"""As it is stored: trial, epoch, values, rank, place, how many trials there, how many promoted, whether it goes on."""


@dataclass(frozen=True)
class Turn:
    """A trial that may be claimed.

    Attributes:
        number: The trial.
        decision: Why it goes on from where it is paused, or ends there; None where it begins, or was interrupted.
    """

    number: int
    decision: Decision | None = None

    @property
    def ends(self) -> bool:
        """Whether it is to end as it is, without further training."""
        return self.decision is not None and not self.decision["goes_on"]


def rungs(config: StudyConfig) -> list[int]:
    """The epochs after which trials are compared; empty where the study does not halve."""
    pruner, epochs = config.pruner, config.experiment.epochs
    if not isinstance(pruner, HalvingConfig):
        return []
    if pruner.rungs == "stages":
        return [*accumulate(stage.epochs for stage in config.experiment.stages)][:-1]
    powers = (pruner.min_epochs * pruner.factor**k for k in range(epochs))
    return [epoch for epoch in powers if epoch < epochs]


def values_at(trial: FrozenTrial, epoch: int, own: Goal) -> list[float] | None:
    """A trial's values at a rung, one for each objective: those of its best epoch so far, as in its final result.

    Returns:
        None where it did not reach the rung.
    """
    shown = {e: [value] for e, value in trial.intermediate_values.items()} or {
        int(key.removeprefix(EPOCH)): found for key, found in trial.user_attrs.items() if key.startswith(EPOCH)
    }
    until = [found for e, found in shown.items() if e <= epoch]
    return (max if own.direction == "maximize" else min)(until, key=lambda found: found[0]) if epoch in shown else None


def decisions(trials: Sequence[FrozenTrial], config: StudyConfig, rung: int, *, last: bool = False) -> list[Decision]:
    """The decision on every trial that has reached a rung, the best first.

    Args:
        trials: The study's trials.
        config: The study.
        rung: The epoch.
        last: Whether all trials have begun, so that one of every η is rounded up.
    """
    assert isinstance(config.pruner, HalvingConfig)
    own_goal = config.goals[0]
    there = {trial.number: found for trial in trials if (found := values_at(trial, rung, own_goal)) is not None}
    if not there:
        return []
    own = 0 if config.sampler.name != "grid" else -1  # a grid does not begin with the study's own experiment
    numbers, F = list(there), to_minimize(list(there.values()), [str(goal.direction) for goal in config.goals])
    rank, kept = ranks(F), (len(there) + (config.pruner.factor - 1) * last) // config.pruner.factor
    return [
        {
            "trial": numbers[i],
            "epoch": rung,
            "values": there[numbers[i]],
            "rank": int(rank[i]),
            "place": place,
            "trials": len(there),
            "kept": kept,
            "goes_on": place <= kept or numbers[i] == own,
        }
        for place, i in enumerate(order(F), start=1)
    ]


def decide(trial: Trial, queue: TrialQueue, config: StudyConfig, epoch: int) -> str:
    """Decide whether a trial goes on after an epoch whose values are reported already.

    A decision that was made before a worker was killed stays.

    Returns:
        Why it is paused; empty where it goes on.
    """
    if epoch not in rungs(config):
        return ""
    taken = trial.user_attrs.get(f"{DECISION}{epoch}")
    if taken is None:
        found = decisions(queue.trials(), config, epoch)
        taken = [next(one for one in found if one["trial"] == trial.number)]
        trial.set_user_attr(f"{DECISION}{epoch}", taken)
    return "" if taken[-1]["goes_on"] else describe(taken[-1])


def record(trial: Trial, decision: Decision) -> bool:
    """Store a decision on a paused trial.

    Returns:
        False where the trial is not paused there any more, because another worker was faster.
    """
    key = f"{DECISION}{decision['epoch']}"
    taken = trial.user_attrs.get(key, [])
    if not taken or paused_at(trial.user_attrs) != decision["epoch"]:
        return False
    trial.set_user_attr(key, [*taken, decision])
    return True


def decisions_of(attrs: Mapping[str, Any]) -> dict[int, list[Decision]]:
    """All decisions on a trial, by epoch."""
    return {int(key.removeprefix(DECISION)): taken for key, taken in attrs.items() if key.startswith(DECISION)}


def paused_at(attrs: Mapping[str, Any]) -> int:
    """The epoch after which a trial with these user attributes is paused; 0 where it is not."""
    return max((epoch for epoch, taken in decisions_of(attrs).items() if not taken[-1]["goes_on"]), default=0)


def last_passed(attrs: Mapping[str, Any]) -> int:
    """The last rung after which a trial with these user attributes went on; 0 where it has not passed one."""
    return max((epoch for epoch, taken in decisions_of(attrs).items() if taken[-1]["goes_on"]), default=0)


def turns(trials: Sequence[FrozenTrial], config: StudyConfig) -> Iterator[Turn]:
    """Which trials may be claimed, in this order: interrupted ones, paused ones that are now among the best, new ones.

    When none of these is left and no trial runs, one of every η is rounded up; then those that are still paused end.
    """
    free = [trial for trial in trials if trial.state is TrialState.WAITING and not paused_at(trial.user_attrs)]
    new = [trial for trial in free if not trial.params]
    yield from (Turn(trial.number) for trial in free if trial.params)
    yield from promotions(trials, config, last=False)
    yield from (Turn(trial.number) for trial in new)
    if new or any(trial.state is TrialState.RUNNING for trial in trials):
        return
    late = [*promotions(trials, config, last=True)]
    yield from late or ends(trials, config)


def promotions(trials: Sequence[FrozenTrial], config: StudyConfig, *, last: bool) -> Iterator[Turn]:
    """The paused trials that are among the best, from the last rung down."""
    for rung in reversed(rungs(config)):
        waiting = {t.number for t in trials if t.state is TrialState.WAITING and paused_at(t.user_attrs) == rung}
        if waiting:
            found = decisions(trials, config, rung, last=last)
            yield from (Turn(one["trial"], one) for one in found if one["goes_on"] and one["trial"] in waiting)


def ends(trials: Sequence[FrozenTrial], config: StudyConfig) -> Iterator[Turn]:
    """The paused trials that will not go on."""
    for trial in trials:
        if trial.state is TrialState.WAITING and (rung := paused_at(trial.user_attrs)):
            found = decisions(trials, config, rung, last=True)
            yield next(Turn(trial.number, {**one, "ended": True}) for one in found if one["trial"] == trial.number)


def rank_trials(trials: Sequence[FrozenTrial], config: StudyConfig) -> list[FrozenTrial]:
    """Trials as a sampler should see them, best first, each with its place as its value.

    Trials that came further are better; those that came equally far are in the order of their last rung. So the sampler
    learns from paused trials, too, and from several objectives as from one. Trials that diverged, and duplicates, come
    last: there is nothing more to be found there.
    """
    unranked = {trial.number: trial for trial in trials if DUPLICATE_OF not in trial.user_attrs}
    rows: list[FrozenTrial] = []
    for rung in (config.experiment.epochs, *reversed(rungs(config))):
        last = rung == config.experiment.epochs
        there = {
            n: final_values(trial) if last else values_at(trial, rung, config.goals[0]) for n, trial in unranked.items()
        }
        known = {number: found for number, found in there.items() if found is not None}
        if known:
            F = to_minimize([*known.values()], [str(goal.direction) for goal in config.goals])
            rows += [unranked.pop([*known][i]) for i in order(F)]
    worst = [t for t in trials if DUPLICATE_OF in t.user_attrs or t.user_attrs.get("outcome") == Outcome.DIVERGED]
    numbers = {trial.number for trial in worst}
    rows = [trial for trial in rows if trial.number not in numbers] + worst
    return [with_value(trial, place) for place, trial in enumerate(rows)]


def final_values(trial: FrozenTrial) -> list[float] | None:
    """The values of a complete trial; of pruned ones Optuna keeps the last value, which does not count here."""
    return trial.values if trial.state is TrialState.COMPLETE else None


def with_value(trial: FrozenTrial, place: int) -> FrozenTrial:
    """A copy of a trial as if it were complete with its place as its value."""
    ranked = copy.copy(trial)
    ranked.state, ranked.values = TrialState.COMPLETE, [float(place)]
    return ranked


def describe(decision: Decision) -> str:
    """A decision in a sentence."""
    shown, kept = ", ".join(f"{value:.4g}" for value in decision["values"]), decision["kept"]
    own = " (the study's own experiment always does)" if decision["goes_on"] and decision["place"] > kept else ""
    what = "went on" if decision["goes_on"] else "ended" if decision.get("ended") else "paused"
    return (
        f"{what} after epoch {decision['epoch']} with {shown}: place "
        f"{decision['place']} of {decision['trials']} (non-dominated rank {decision['rank']}), "
        f"where {kept} {'goes' if kept == 1 else 'go'} on{own}"
    )
