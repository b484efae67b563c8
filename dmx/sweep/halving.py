"""Asynchronous successive halving: at rungs, the best of every η trials go on.

A trial that comes to a rung is held there unless it is among the best; it goes on from its checkpoint as soon as it is,
when more have come. So no epoch is trained twice, and no budget goes to a trial only because it came early.

Source: Li et al. 2020, "A system for massively parallel hyperparameter tuning"; with several objectives the best are
those of the first non-dominated ranks, as in Schmucker et al. 2021, "Multi-objective asynchronous successive halving".
They compare two choices within a rank, NSGA-II's crowding and an epsilon-net; ours is a third (`fronts.order`).
Deviations: trial 0, the study's own experiment, is never held, because all others are compared with it; and when all
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
from dmx.config.search import HalvingConfig
from dmx.outcome import Outcome
from dmx.sweep.claims import Claims
from dmx.sweep.fronts import falling, order, ranks

EPOCH = "epoch "
"""Before the number of an epoch: where a trial keeps its values of several objectives; Optuna's reports take one."""
TWIN = "same as"
"""Where a trial keeps the number of the one that it repeats."""
DECISION = "decision "
"""Before the number of an epoch: where a trial keeps what was decided there, the last time last."""
Decision = Mapping[str, Any]


@dataclass(frozen=True)
class Turn:
    """A trial that may be claimed.

    Attributes:
        decision: Why it goes on from where it is held, or ends there; None where it begins, or was interrupted.
    """

    number: int
    decision: Decision | None = None

    @property
    def ends(self) -> bool:
        """Whether only its end is left to be told."""
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
    """What a trial has after an epoch, a value for each goal: that of its best epoch by then, as at its end.

    None where it did not get there.
    """
    shown = {e: [value] for e, value in trial.intermediate_values.items()} or {
        int(key.removeprefix(EPOCH)): found for key, found in trial.user_attrs.items() if key.startswith(EPOCH)
    }
    until = [found for e, found in shown.items() if e <= epoch]
    return (max if own.direction == "maximize" else min)(until, key=lambda found: found[0]) if epoch in shown else None


def decisions(trials: Sequence[FrozenTrial], config: StudyConfig, rung: int, *, last: bool = False) -> list[Decision]:
    """What is to be decided of every trial that has come to a rung, the best first."""
    assert isinstance(config.pruner, HalvingConfig)
    own_goal = config.goals[0]
    there = {trial.number: found for trial in trials if (found := values_at(trial, rung, own_goal)) is not None}
    if not there:
        return []
    own = 0 if config.sampler.name != "grid" else -1  # a grid does not begin with the study's own experiment
    numbers, F = list(there), falling(list(there.values()), [str(goal.direction) for goal in config.goals])
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


def arrive(trial: Trial, claims: Claims, config: StudyConfig, epoch: int) -> str:
    """Decide whether a trial goes on after an epoch whose values it keeps already; gives why not.

    What was decided before a process died stays decided.
    """
    if epoch not in rungs(config):
        return ""
    taken = trial.user_attrs.get(f"{DECISION}{epoch}")
    if taken is None:
        found = decisions(claims.trials(), config, epoch)
        taken = [next(one for one in found if one["trial"] == trial.number)]
        trial.set_user_attr(f"{DECISION}{epoch}", taken)
    return "" if taken[-1]["goes_on"] else told(taken[-1])


def take(trial: Trial, decision: Decision) -> bool:
    """Put on record what is decided of a trial that was held; False where it is not held there any more."""
    key = f"{DECISION}{decision['epoch']}"
    taken = trial.user_attrs.get(key, [])
    if not taken or held(trial.user_attrs) != decision["epoch"]:
        return False
    trial.set_user_attr(key, [*taken, decision])
    return True


def taken_of(attrs: Mapping[str, Any]) -> dict[int, list[Decision]]:
    """Everything that was decided of a trial, by epoch."""
    return {int(key.removeprefix(DECISION)): taken for key, taken in attrs.items() if key.startswith(DECISION)}


def held(attrs: Mapping[str, Any]) -> int:
    """The epoch after which a trial with these attributes is held; 0 where it is not."""
    return max((epoch for epoch, taken in taken_of(attrs).items() if not taken[-1]["goes_on"]), default=0)


def passed(attrs: Mapping[str, Any]) -> int:
    """The last rung after which a trial with these attributes went on; 0 where it has not come to one."""
    return max((epoch for epoch, taken in taken_of(attrs).items() if taken[-1]["goes_on"]), default=0)


def turns(trials: Sequence[FrozenTrial], config: StudyConfig) -> Iterator[Turn]:
    """Which trials may be claimed, in this order: interrupted ones, held ones that are now among the best, new ones.

    When none of these is left and nobody works, one of every η is rounded up; and then those that are still held end.
    """
    free = [trial for trial in trials if trial.state is TrialState.WAITING and not held(trial.user_attrs)]
    new = [trial for trial in free if not trial.params]
    yield from (Turn(trial.number) for trial in free if trial.params)
    yield from promotions(trials, config, last=False)
    yield from (Turn(trial.number) for trial in new)
    if new or any(trial.state is TrialState.RUNNING for trial in trials):
        return
    late = [*promotions(trials, config, last=True)]
    yield from late or ends(trials, config)


def promotions(trials: Sequence[FrozenTrial], config: StudyConfig, *, last: bool) -> Iterator[Turn]:
    """Those who are held and among the best, from the last rung on."""
    for rung in reversed(rungs(config)):
        waiting = {t.number for t in trials if t.state is TrialState.WAITING and held(t.user_attrs) == rung}
        if waiting:
            found = decisions(trials, config, rung, last=last)
            yield from (Turn(one["trial"], one) for one in found if one["goes_on"] and one["trial"] in waiting)


def ends(trials: Sequence[FrozenTrial], config: StudyConfig) -> Iterator[Turn]:
    """Those who are held and will not go on."""
    for trial in trials:
        if trial.state is TrialState.WAITING and (rung := held(trial.user_attrs)):
            found = decisions(trials, config, rung, last=True)
            yield next(Turn(trial.number, {**one, "ended": True}) for one in found if one["trial"] == trial.number)


def in_order(trials: Sequence[FrozenTrial], config: StudyConfig) -> list[FrozenTrial]:
    """Trials as a sampler should see them, best first: the further the better, among equally far ones as ordered there.

    So those that are held teach, too, and several objectives teach as one, by place. Who diverged is last, and who only
    repeats another: there is nothing more to be found there.
    """
    behind = {trial.number: trial for trial in trials if TWIN not in trial.user_attrs}
    rows: list[FrozenTrial] = []
    for rung in (config.experiment.epochs, *reversed(rungs(config))):
        last = rung == config.experiment.epochs
        there = {n: full(trial) if last else values_at(trial, rung, config.goals[0]) for n, trial in behind.items()}
        known = {number: found for number, found in there.items() if found is not None}
        if known:
            F = falling([*known.values()], [str(goal.direction) for goal in config.goals])
            rows += [behind.pop([*known][i]) for i in order(F)]
    lost = [t for t in trials if TWIN in t.user_attrs or t.user_attrs.get("outcome") == Outcome.DIVERGED]
    numbers = {trial.number for trial in lost}
    rows = [trial for trial in rows if trial.number not in numbers] + lost
    return [placed(trial, place) for place, trial in enumerate(rows)]


def full(trial: FrozenTrial) -> list[float] | None:
    """The values of a complete trial; Optuna gives pruned ones, too, their last value."""
    return trial.values if trial.state is TrialState.COMPLETE else None


def placed(trial: FrozenTrial, place: int) -> FrozenTrial:
    """A trial as if it were complete with its place as its value."""
    seen = copy.copy(trial)
    seen.state, seen.values = TrialState.COMPLETE, [float(place)]
    return seen


def told(decision: Decision) -> str:
    """A decision in a sentence."""
    shown, kept = ", ".join(f"{value:.4g}" for value in decision["values"]), decision["kept"]
    own = " (the study's own experiment always does)" if decision["goes_on"] and decision["place"] > kept else ""
    what = "went on" if decision["goes_on"] else "ended" if decision.get("ended") else "held"
    return (
        f"{what} after epoch {decision['epoch']} with {shown}: place "
        f"{decision['place']} of {decision['trials']} (non-dominated rank {decision['rank']}), "
        f"where {kept} {'goes' if kept == 1 else 'go'} on{own}"
    )
