"""Asynchronous successive halving: at each rung (an epoch), the top 1/η of the trials are promoted.

A trial that reaches a rung outside the top 1/η is paused there. It is promoted, and resumes from its checkpoint, once
further trials have reached the rung and it ranks in the top 1/η. So no epoch is trained twice, and a trial gets no
budget only because it reached the rung early.

Source: Li et al. 2020, "A system for massively parallel hyperparameter tuning". With several objectives, trials are
ranked by non-dominated sorting, as in Schmucker et al. 2021, "Multi-objective asynchronous successive halving"; they
break ties within a rank by NSGA-II's crowding or an epsilon-net, we use a third way (`pareto.order`).
Deviations: trial 0, the study's own experiment, is never paused, because all others are compared with it. Once all
trials have begun, the number of promoted trials is rounded up, so that a small study also trains its best trial at
full budget.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from optuna import Trial
from optuna.trial import FrozenTrial, TrialState

from dmx.config import StudyConfig
from dmx.config.objective import Goal
from dmx.config.study import HalvingConfig
from dmx.results.pareto import levels, order, points
from dmx.sweep.trial_queue import TrialQueue

EPOCH = "epoch "
"""Prefix (before an epoch's number) of the user attribute with several objectives; Optuna's reports take one value."""
DUPLICATE_OF = "same as"
"""User attribute of a duplicate trial: the number of the trial with the same configuration."""
DECISION = "decision "
"""Prefix (before an epoch's number) of the user attribute with the decisions made at that rung, the latest last."""
Decision = Mapping[str, Any]
"""As stored: trial, epoch, values, rank, place, number of trials at the rung, number promoted, whether it continues; by
how much it misses the objectives' bounds, if it does."""


@dataclass(frozen=True)
class ClaimableTrial:
    """A trial that may be claimed.

    `decision` says why a paused trial is promoted or ends at its rung; None for a new or interrupted trial.
    """

    number: int
    decision: Decision | None = None

    @property
    def is_final(self) -> bool:
        """Whether the trial ends without further training."""
        return self.decision is not None and not self.decision["goes_on"]


def rungs(config: StudyConfig) -> list[int]:
    """The epochs after which trials are compared; empty if the study does not use halving."""
    pruner, epochs = config.pruner, config.experiment.epochs
    if not isinstance(pruner, HalvingConfig):
        return []
    if pruner.rungs == "stages":
        return [*accumulate(stage.epochs for stage in config.experiment.stages)][:-1]
    powers = (pruner.first(epochs) * pruner.factor**k for k in range(epochs))
    return [epoch for epoch in powers if epoch < epochs]


def values_at(trial: FrozenTrial, epoch: int, own: Goal) -> list[float] | None:
    """A trial's values at a rung, one for each objective: those of its best epoch so far, as in its final result.

    Returns:
        The values; None if the trial did not reach the rung.
    """
    shown = {e: [value] for e, value in trial.intermediate_values.items()} or {
        int(key.removeprefix(EPOCH)): found for key, found in trial.user_attrs.items() if key.startswith(EPOCH)
    }
    until = [found for e, found in shown.items() if e <= epoch]
    return (max if own.direction == "maximize" else min)(until, key=lambda found: found[0]) if epoch in shown else None


def decisions(trials: Sequence[FrozenTrial], config: StudyConfig, rung: int, *, last: bool = False) -> list[Decision]:
    """The decision on every trial that has reached a rung, best first.

    Args:
        trials: The study's trials.
        config: The study.
        rung: The epoch.
        last: Whether all trials have begun, so that the number of promoted trials is rounded up.
    """
    assert isinstance(config.pruner, HalvingConfig)
    own_goal = config.goals[0]
    there = {trial.number: found for trial in trials if (found := values_at(trial, rung, own_goal)) is not None}
    if not there:
        return []
    own = 0 if config.sampler.name != "grid" else -1  # a grid does not begin with the study's own experiment
    numbers, (F, missed) = list(there), points(list(there.values()), config.goals)
    rank, kept = levels(F, missed), (len(there) + (config.pruner.factor - 1) * last) // config.pruner.factor
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
            **({"missed": float(missed[i])} if missed[i] else {}),
        }
        for place, i in enumerate(order(F, missed), start=1)
    ]


def decide(trial: Trial, queue: TrialQueue, config: StudyConfig, epoch: int) -> str:
    """Decide whether a trial continues after an epoch whose values are already reported.

    A decision that was stored before a worker was killed is kept.

    Returns:
        Why the trial is paused; empty if it continues.
    """
    if epoch not in rungs(config):
        return ""
    taken = trial.user_attrs.get(f"{DECISION}{epoch}")
    if taken is None:
        found = decisions(queue.trials(), config, epoch)
        taken = [next(one for one in found if one["trial"] == trial.number)]
        trial.set_user_attr(f"{DECISION}{epoch}", taken)
    return "" if taken[-1]["goes_on"] else describe(taken[-1])


def store_decision(trial: Trial, decision: Decision) -> bool:
    """Store a decision on a paused trial.

    Returns:
        False if the trial is no longer paused at that rung, because another worker was faster.
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
    """The epoch after which a trial with these user attributes is paused; 0 if it is not paused."""
    return max((epoch for epoch, taken in decisions_of(attrs).items() if not taken[-1]["goes_on"]), default=0)


def last_passed(attrs: Mapping[str, Any]) -> int:
    """The last rung that a trial with these user attributes has passed; 0 if none."""
    return max((epoch for epoch, taken in decisions_of(attrs).items() if taken[-1]["goes_on"]), default=0)


def claimable_trials(trials: Sequence[FrozenTrial], config: StudyConfig) -> Iterator[ClaimableTrial]:
    """The trials that may be claimed, in this order: interrupted, promoted, new.

    If none of these is left and no trial is running, the number of promoted trials is rounded up; after that, trials
    that are still paused end.
    """
    free = [trial for trial in trials if trial.state is TrialState.WAITING and not paused_at(trial.user_attrs)]
    new = [trial for trial in free if not trial.params]
    yield from (ClaimableTrial(trial.number) for trial in free if trial.params)
    yield from trials_to_promote(trials, config, last=False)
    yield from (ClaimableTrial(trial.number) for trial in new)
    if new or any(trial.state is TrialState.RUNNING for trial in trials):
        return
    late = [*trials_to_promote(trials, config, last=True)]
    yield from late or trials_to_stop(trials, config)


def trials_to_promote(trials: Sequence[FrozenTrial], config: StudyConfig, *, last: bool) -> Iterator[ClaimableTrial]:
    """The paused trials to promote, from the last rung down."""
    for rung in reversed(rungs(config)):
        waiting = {t.number for t in trials if t.state is TrialState.WAITING and paused_at(t.user_attrs) == rung}
        if waiting:
            found = decisions(trials, config, rung, last=last)
            yield from (
                ClaimableTrial(one["trial"], one) for one in found if one["goes_on"] and one["trial"] in waiting
            )


def trials_to_stop(trials: Sequence[FrozenTrial], config: StudyConfig) -> Iterator[ClaimableTrial]:
    """The paused trials that end at their rung, because they will not be promoted."""
    for trial in trials:
        if trial.state is TrialState.WAITING and (rung := paused_at(trial.user_attrs)):
            found = decisions(trials, config, rung, last=True)
            yield next(
                ClaimableTrial(trial.number, {**one, "ended": True}) for one in found if one["trial"] == trial.number
            )


def describe(decision: Decision) -> str:
    """A decision in a sentence."""
    values, kept = decision["values"], decision["kept"]
    what = "went on" if decision["goes_on"] else "ended" if decision.get("ended") else "paused"
    shown = ", ".join(f"{value:.4g}" for value in values)
    rank = f"rank {decision['place']} of {decision['trials']}"
    if missed := decision.get("missed"):
        rank += f" (misses the bounds by {missed:.1%})"
    elif len(values) > 1:
        rank += f" (non-dominated rank {decision['rank']})"
    promoted = "none goes on" if kept == 0 else "the best goes on" if kept == 1 else f"the best {kept} go on"
    own = " (the study's own experiment always does)" if decision["goes_on"] and decision["place"] > kept else ""
    return f"{what} after epoch {decision['epoch']} ({shown}): {rank}; {promoted}{own}"
