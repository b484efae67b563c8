"""Sweeps in this process, and what is left of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from dmx.cli.watch import Watch
from dmx.config import StudyConfig, parse_study
from dmx.errors import UserError
from dmx.experiment.failures import reason, transient
from dmx.sweep.events import Event, EventSender, FatalError, WorkerExited
from dmx.sweep.pool import WorkerPool, WorkerSlot
from dmx.sweep.study import RESUMABLE, StudySummary
from dmx.sweep.trial_queue import TrialQueue, open_queue
from dmx.sweep.worker import Worker
from dmx.tracking import Home


@dataclass
class InProcessPool(WorkerPool):
    """The pool that users run, with one worker in this process: it sees components that a test registers.

    Attributes:
        on_death: Told why the worker has died, before another one goes on.
    """

    on_death: Callable[[str], None] = lambda why: None

    def _prepare(self, config: StudyConfig) -> list[str | None]:
        return [None]

    def _start(self, slot: WorkerSlot, owner: str) -> Worker:
        queue = replace(self.study.queue, owner=owner)
        sender = EventSender(partial(self._handle, slot))
        return Worker(self.study.config, self.study.home, queue, self.study.space, sender)

    def _receive(self, timeout: float) -> Iterator[tuple[WorkerSlot, Event]]:
        """Run the worker to its end; its events are handled as they come."""
        (slot,) = self.slots
        assert slot.worker is not None
        worker, died = slot.worker.handle, ""
        try:
            for _ in worker.run_trials():
                pass
        except UserError as error:
            yield slot, FatalError(str(error))
        except Exception as error:
            if not transient(error):
                raise
            died = reason(error)
            self.on_death(died)
        if worker.interrupted:  # by a signal, which reaches the pool as well
            self._stop(RESUMABLE)
        yield slot, WorkerExited(bool(died), died)

    def _interrupt(self, handle: Worker) -> None:
        handle.interrupted = True

    def _kill(self, handle: Worker) -> None:
        handle.interrupted = True


def execute(data: dict[str, Any], home: Path, on_death: Callable[[str], None] = lambda why: None) -> StudySummary:
    config = parse_study(data, "study")
    with Watch(config.experiment.objective) as watch:
        return InProcessPool(lambda number: watch, on_death=on_death).sweep(config, Home(home))


def mlflow_runs(home: Path) -> dict[str, Any]:
    from dmx.tracking.mlflow_client import connect

    client = connect(Home(home))
    group = client.get_experiment_by_name("tiny")
    assert group is not None
    return {run.data.tags["dmx.run"]: run for run in client.search_runs([group.experiment_id])}


def optuna_trials(config: StudyConfig, home: Path) -> list[Any]:
    return open_queue(config, Home(home).study("tiny")).trials()


def claim_next(queue: TrialQueue) -> int | None:
    """Claim the first trial that waits; None where none does."""
    waiting = (trial.number for trial in queue.trials() if trial.state is TrialState.WAITING)
    return next((number for number in waiting if queue.claim(number)), None)
