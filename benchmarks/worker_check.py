"""Whether a replay in memory decides as the worker of `dmx sweep` on its journal, with training read from a table."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from optuna import Trial
from replay import DmxSearch, simulate
from replay_table import Table
from table_spaces import key

from dmx.outcome import Outcome
from dmx.stored import replace_text
from dmx.sweep.halving import last_passed
from dmx.sweep.pruning import report_epoch
from dmx.sweep.trial_queue import open_queue
from dmx.sweep.worker import FINGERPRINT, Worker
from dmx.tracking.home import RESULT, Home
from dmx.training.progress import Silent
from dmx.training.result import BestEpoch, RunResult


class Unobserved(Silent):
    """Observes nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: None


class TableWorker(Worker):
    """The worker of `dmx sweep` with training read from a table.

    Attributes:
        table: The table.
        budget: The epochs after which it stops.
        seen: The rows and epochs that were trained, in order.
    """

    table: Table
    budget: int
    seen: list[tuple[int, int]]

    def _train(self, trial: Trial, values: dict[str, Any]) -> RunResult:
        trial.set_user_attr(FINGERPRINT, key(values))
        result = self._read(trial, self.table.rows[key(values)])
        folder = self.home.run(self.run_id(trial.number))
        folder.mkdir(parents=True, exist_ok=True)
        objective = self.config.experiment.objective.model_dump(mode="json")
        replace_text(
            folder / RESULT, json.dumps({"tags": {}, "params": {}, "objective": objective, **result.to_dict()})
        )
        return result

    def _read(self, trial: Trial, row: int) -> RunResult:
        length, epochs, epoch = self.table.lengths[row], self.table.task.epochs, last_passed(trial.user_attrs)
        reason = ""
        while epoch < max(1, length) and not reason:
            epoch += 1
            self.seen.append((row, epoch))
            self.interrupted = self.interrupted or len(self.seen) >= self.budget
            if length:
                reason = report_epoch(trial, self.queue, self.config, {}, epoch, self.table.metrics(row, epoch))
            reason = reason if epoch < length else ""
        outcome = Outcome.PRUNED if reason else Outcome.COMPLETE if length == epochs else Outcome.DIVERGED
        best = None
        if length:
            at = int(np.argmin(self.table.values[row, :epoch, self.table.own])) + 1
            metrics = self.table.metrics(row, at)
            best = BestEpoch(at, at, float(metrics[self.config.experiment.objective.metric] or 0.0), metrics)
        return RunResult(outcome, reason, best, epoch, epoch, 0.0)


def by_worker(table: Table, seed: int, budget: int, **settings: Any) -> list[tuple[int, int]]:
    """The rows and epochs that a worker trains, in order."""
    config, space = table.study(seed=seed, trials=len(table.keys), **settings)
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        queue = open_queue(config, home.study(config.name))
        queue.fill()
        observer: Any = Unobserved()
        worker = TableWorker(config, home, queue, space, observer)
        worker.table, worker.budget, worker.seen = table, budget, []
        for _ in worker.run_trials():
            pass
        return worker.seen[:budget]


def check(table: Table, seed: int, budget: int, **settings: Any) -> bool:
    """Whether both train the same epochs of the same rows in the same order."""
    steps = simulate(DmxSearch(table, seed, **settings), table, budget)
    return [(row, epoch) for row, epoch, _ in steps] == by_worker(table, seed, budget, **settings)
