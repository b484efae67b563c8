"""Searches replayed on tables of learning curves, with simulated asynchronous workers.

A search says which row is trained next and, after each epoch, whether it goes on. `dmx` makes its decisions with its
own functions (queue, proposals, judgements, pausing and resuming) on Optuna's storage in memory, without journal, runs
and processes; `benchmarks/search.py --check` compares that with the worker of `dmx sweep`.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import optuna
from optuna import Trial
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState
from replay_table import Step, Table
from table_spaces import key

from dmx.outcome import Outcome
from dmx.results.pareto import objective_values
from dmx.sweep.halving import claimable_trials, last_passed, paused_at, store_decision
from dmx.sweep.pruning import report_epoch
from dmx.sweep.suggest import first_trials, suggest
from dmx.sweep.trial_queue import TrialQueue
from dmx.sweep.warm_start import learned
from dmx.sweep.worker import STATES


@dataclass(frozen=True)
class Job:
    """A trial that a worker trains.

    Attributes:
        row: The row of the table.
        epoch: The last epoch that it has been trained for.
        trial: What the search knows it by.
    """

    row: int
    epoch: int
    trial: Any


class Search(Protocol):
    """A search that is replayed."""

    def next(self) -> Job | None:
        """What a worker that is free trains; None if it has to wait."""

    def goes_on(self, job: Job, epoch: int) -> bool:
        """Whether a trial goes on after an epoch, of which it is told, that is not the last one."""

    def ends(self, job: Job, epoch: int) -> None:
        """A trial has come to its end: the last epoch, of which it is told; after fewer than all it diverges."""


def simulate(search: Search, table: Table, budget: int, workers: int = 1) -> list[Step]:
    """Let workers train until so many epochs are done; an epoch takes as long as the row's took.

    A row without any value diverges in its first epoch, which is counted.
    """
    steps: list[Step] = []
    running: list[tuple[float, int, Job]] = []
    now, order, free = 0.0, 0, workers

    def begin(job: Job) -> None:
        nonlocal order
        order += 1
        heapq.heappush(running, (now + table.seconds[job.row], order, job))

    while len(steps) < budget:
        while free and (job := search.next()) is not None:
            begin(job)
            free -= 1
        if not running:
            break
        now, _, job = heapq.heappop(running)
        epoch = job.epoch + 1
        steps.append((job.row, epoch, now))
        if epoch >= table.lengths[job.row]:
            search.ends(job, epoch)
            free += 1
        elif search.goes_on(job, epoch):
            begin(Job(job.row, epoch, job.trial))
        else:
            free += 1
    return steps


class DmxSearch:
    """The search of `dmx sweep`.

    Args:
        table: The table.
        seed: The study's seed.
        settings: Further keys of the study, as `sampler` and `pruner`.
    """

    def __init__(self, table: Table, seed: int, **settings: Any) -> None:
        self.table = table
        self.config, self.space = table.study(seed=seed, trials=len(table.keys), **settings)
        storage = InMemoryStorage()
        directions = [goal.direction or "minimize" for goal in self.config.goals]
        optuna.create_study(storage=storage, study_name=self.config.name, directions=directions)
        self.queue = TrialQueue(storage, self.config.name, self.config.trials)
        self.queue.fill()
        self.first = first_trials(self.config, self.space)
        self.told: Sequence[FrozenTrial] = ()

    def begin_with(self, earlier: "DmxSearch") -> None:
        """Begin with what a study on another table has found, as `warm_start` does."""
        assert self.config.warm_start is not None
        found = learned(self.config.warm_start, earlier.queue.trials(), earlier.config, self.config, self.space)
        self.first = first_trials(self.config, self.space, found.queue)
        self.told = found.trials(self.space)

    def next(self) -> Job | None:
        """See `Search`."""
        while (turn := next(claimable_trials(self.queue.trials(), self.config), None)) is not None:
            self.queue.claim(turn.number)
            trial, values = suggest(self.queue, self.config, self.space, turn.number, self.first, self.told)
            if turn.decision is not None:
                store_decision(trial, turn.decision)
            if not turn.is_final:
                return Job(self.table.rows[key(values)], last_passed(trial.user_attrs), trial)
            self._finish(trial, Outcome.PRUNED)
        return None

    def goes_on(self, job: Job, epoch: int) -> bool:
        """See `Search`."""
        if not self._report(job, epoch):
            return True
        if paused_at(job.trial.user_attrs):
            self.queue.storage.set_trial_state_values(self.queue.trial_id(job.trial.number), TrialState.WAITING)
        else:
            self._finish(job.trial, Outcome.PRUNED)
        return False

    def ends(self, job: Job, epoch: int) -> None:
        """See `Search`."""
        length = self.table.lengths[job.row]
        if length:
            self._report(job, epoch)
        if length < self.table.task.epochs:
            self._finish(job.trial, Outcome.DIVERGED)
            return
        at = int(np.argmin(self.table.values[job.row, :, self.table.own])) + 1
        values = objective_values(self.config.goals, self.table.metrics(job.row, at))
        self._finish(job.trial, Outcome.COMPLETE, values)

    def _report(self, job: Job, epoch: int) -> str:
        return report_epoch(job.trial, self.queue, self.config, {}, epoch, self.table.metrics(job.row, epoch))

    def _finish(self, trial: Trial, outcome: Outcome, values: list[float] | None = None) -> None:
        trial.set_user_attr("outcome", str(outcome))
        trial.study.tell(trial, values, state=STATES.get(outcome, TrialState.FAIL), skip_if_finished=True)
