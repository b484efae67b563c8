"""The trials that a study's sampler gets: finished ones ordered from best to worst, failed ones last, and running ones.

With one objective, TPE only uses which trials are among the best. So each trial's value is replaced by its rank: TPE
proposes the same, and trials without a value can be ranked, too (paused, pruned, over the study's limits, diverged).
The forest gets ranks, too, and looks up values and epochs of the trials by itself. Other samplers get the values where
possible.
"""

import copy
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from dmx.config import StudyConfig
from dmx.config.study import ForestConfig, GpConfig, TpeConfig
from dmx.outcome import Outcome
from dmx.results.pareto import order, points
from dmx.sweep.halving import DUPLICATE_OF, EPOCH, rungs, values_at

PARAMETER_FAILURES = (Outcome.DIVERGED, Outcome.UNDEFINED, Outcome.OUT_OF_MEMORY, Outcome.TIMED_OUT)
"""Outcomes that a trial's parameters cause, so that the sampler must learn from them; a crash may be the machine's."""


MAX_WARM_START_TRIALS = 30
"""How many trials of an earlier study the sampler gets at first; each of the study's own trials replaces one."""
T = TypeVar("T")


def by_rank(config: StudyConfig) -> bool:
    """Whether the sampler sees the ranks of trials instead of their values."""
    if not isinstance(config.sampler, TpeConfig | ForestConfig | GpConfig):
        return False
    if (
        isinstance(config.sampler, ForestConfig)
        or rungs(config)
        or config.warm_start
        or any(goal.bound is not None for goal in config.goals)
    ):
        return True
    return isinstance(config.sampler, TpeConfig) and len(config.goals) == 1


def trials_for_sampler(
    trials: Sequence[FrozenTrial], config: StudyConfig, warm_start_trials: Sequence[FrozenTrial] = ()
) -> list[FrozenTrial]:
    """The study's trials as its sampler sees them.

    Genetic samplers and designs get them unchanged: genetic samplers select parents only from complete trials.

    Args:
        trials: The study's trials.
        config: The study.
        warm_start_trials: Trials of an earlier study, best first.
    """
    if not isinstance(config.sampler, TpeConfig | ForestConfig | GpConfig):
        return [*trials]
    ordered = in_order(trials, config)
    placed = {trial.number for trial in ordered}
    running = [as_running(trial) for trial in trials if trial.number not in placed and is_in_progress(trial)]
    if by_rank(config):
        return [
            with_values(trial, [float(rank)]) for rank, trial in enumerate(blended(ordered, warm_start_trials))
        ] + running
    complete = [trial for trial in ordered if trial.state is TrialState.COMPLETE and not is_infeasible_or_failed(trial)]
    if not complete:
        return running
    F = np.array([trial.values for trial in complete])
    signs = np.array([-1.0 if goal.direction == "maximize" else 1.0 for goal in config.goals])
    worst = ((F * signs).max(0) * signs).tolist()
    return [*complete, *(with_values(trial, worst) for trial in ordered if is_infeasible_or_failed(trial)), *running]


def blended(own: Sequence[FrozenTrial], warm_start_trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Merge a study's trials with those of an earlier one, both best first, by the share of each that is better.

    Each own trial takes the place of an earlier one, until none of these is left.
    """
    left = thinned(warm_start_trials, max(0, len(warm_start_trials) - len(own)))
    shares = [((i + 0.5) / len(own), 0, trial) for i, trial in enumerate(own)]
    shares += [((i + 0.5) / len(left), 1, trial) for i, trial in enumerate(left)]
    return [trial for *_, trial in sorted(shares, key=lambda one: one[:2])]


def thinned(rows: Sequence[T], count: int) -> list[T]:
    """Up to `count` of the rows, evenly spaced over their order."""
    return [rows[int((i + 0.5) * len(rows) / count)] for i in range(count)] if count < len(rows) else [*rows]


def is_in_progress(trial: FrozenTrial) -> bool:
    """Whether a trial has its values and will go on, even if its worker has just died."""
    return not trial.state.is_finished() and bool(trial.params)


def is_infeasible_or_failed(trial: FrozenTrial) -> bool:
    """Whether the sampler should keep away from a trial: it failed by its values, is over a limit, or a duplicate."""
    return (
        DUPLICATE_OF in trial.user_attrs or trial.user_attrs.get("outcome") in PARAMETER_FAILURES or over_limits(trial)
    )


def over_limits(trial: FrozenTrial) -> bool:
    """Whether a trial ended before its first step, because its network is over the study's limits."""
    reported = trial.intermediate_values or any(key.startswith(EPOCH) for key in trial.user_attrs)
    return trial.state is TrialState.PRUNED and not reported


def in_order(trials: Sequence[FrozenTrial], config: StudyConfig) -> list[FrozenTrial]:
    """All trials of which something is known, best first.

    With halving, trials that reached a later rung come first, and trials at the same rung by their values there.
    Otherwise the complete ones come first, then the pruned ones, the later the better. Those to avoid are last.
    """
    good = [trial for trial in trials if not is_infeasible_or_failed(trial)]
    ordered = by_rungs(good, config) if rungs(config) else by_end(good, config)
    return ordered + sorted((trial for trial in trials if is_infeasible_or_failed(trial)), key=failure_sort_key)


def by_rungs(trials: Sequence[FrozenTrial], config: StudyConfig) -> list[FrozenTrial]:
    """Complete trials, and then those at each rung from the last down, best first."""
    unranked = {trial.number: trial for trial in trials}
    rows: list[FrozenTrial] = []
    for rung in (config.experiment.epochs, *reversed(rungs(config))):
        last = rung == config.experiment.epochs
        there = {
            n: final_values(trial) if last else values_at(trial, rung, config.goals[0]) for n, trial in unranked.items()
        }
        known = {number: found for number, found in there.items() if found is not None}
        rows += [unranked.pop([*known][i]) for i in best_first([*known.values()], config)]
    return rows


def by_end(trials: Sequence[FrozenTrial], config: StudyConfig) -> list[FrozenTrial]:
    """Complete trials, best first, and then pruned ones by their last epoch and the value there, as Optuna has them."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    pruned = [trial for trial in trials if trial.state is TrialState.PRUNED]

    def key(trial: FrozenTrial) -> tuple[int, float]:
        epoch, value = max(trial.intermediate_values.items(), default=(0, 0.0))
        return -epoch, config.experiment.objective.descending(value)

    return [complete[i] for i in best_first([t.values for t in complete], config)] + sorted(pruned, key=key)


def best_first(values: Sequence[Sequence[float]], config: StudyConfig) -> list[int]:
    """The order of objective values, best first."""
    return order(*points(values, config.goals)) if values else []


def failure_sort_key(trial: FrozenTrial) -> tuple[bool, float, int]:
    """The order of trials to avoid: the nearest to the limits first, then those that failed."""
    return not over_limits(trial), sum(max(0.0, excess) for excess in trial.constraints.values()), trial.number


def final_values(trial: FrozenTrial) -> list[float] | None:
    """The values of a complete trial; None for pruned ones, whose last reported value Optuna would return."""
    return trial.values if trial.state is TrialState.COMPLETE else None


def with_values(trial: FrozenTrial, values: list[float]) -> FrozenTrial:
    """A copy of a trial in state COMPLETE with these values, and without constraints: they are in the order already."""
    seen = copy.copy(trial)
    seen.state, seen.values, seen.system_attrs = TrialState.COMPLETE, values, {}
    return seen


def as_running(trial: FrozenTrial) -> FrozenTrial:
    """A copy of a trial in state RUNNING: a sampler proposes something else while its result is not known."""
    seen = copy.copy(trial)
    seen.state = TrialState.RUNNING
    return seen
