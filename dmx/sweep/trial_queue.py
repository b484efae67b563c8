"""The queue of a study's trials: which worker has claimed which trial, in any storage.

All trials of a study are enqueued before the first begins, so that their number is right even if processes die or
restart. A worker claims the first waiting trial; the storage grants a trial to one worker only. The trial of a worker
that died is requeued with its parameters, reported values and checkpoint.
"""

import logging
import threading
import uuid
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from dmx.config import StudyConfig
from dmx.errors import UserError
from dmx.sweep.optuna_private import has_heartbeat, stale_trials
from dmx.sweep.storage import HEARTBEAT_INTERVAL, open_database, open_journal
from dmx.tracking.home import Home

OWNER, RUN, ORIGIN = "owner", "run", "warm start"
"""User attributes of a trial: the worker that claimed it last, its run, and the earlier run whose values it has."""
log = logging.getLogger(__name__)


def new_owner() -> str:
    """A unique name for a worker."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class TrialQueue:
    """The trials of a study, as seen by one worker.

    Attributes:
        storage: Optuna's storage with the trials.
        study_name: The study's name.
        n_trials: Number of trials in all; trials with higher numbers are ignored.
        owner: The worker that claims trials through this object.
        lock: Held during a claim, for storages that may grant a trial to two workers.
    """

    storage: BaseStorage
    study_name: str
    n_trials: int
    owner: str = field(default_factory=new_owner)
    lock: AbstractContextManager[Any] = field(default_factory=nullcontext)

    def load_study(self, sampler: BaseSampler | None = None, pruner: BasePruner | None = None) -> optuna.Study:
        """Load the study without a cache, so that a sampler sees every trial that has finished by now."""
        return optuna.load_study(study_name=self.study_name, storage=self.storage, sampler=sampler, pruner=pruner)

    def trials(self) -> list[FrozenTrial]:
        """The first `n_trials` trials, ordered by number."""
        study_id = self.storage.get_study_id_from_name(self.study_name)
        return [t for t in self.storage.get_all_trials(study_id, deepcopy=False) if t.number < self.n_trials]

    def fill(self) -> None:
        """Enqueue the missing trials; if two processes do so at once, surplus trials are ignored."""
        study = self.load_study()
        for _ in range(len(self.trials()), self.n_trials):
            study.enqueue_trial({})

    def finished(self) -> int:
        """The number of finished trials, in whatever state."""
        return sum(trial.state.is_finished() for trial in self.trials())

    def claim(self, number: int) -> bool:
        """Claim a waiting trial.

        Returns:
            Whether the claim succeeded; False if another worker has claimed the trial, or it has finished.
        """
        trial_id = self.trial_id(number)
        try:
            if has_heartbeat(self.storage):
                self.storage.record_heartbeat(trial_id)  # first: with an old heartbeat it would be stale at once
                granted = self.storage.set_trial_state_values(trial_id, TrialState.RUNNING)
                if granted:
                    self.storage.set_trial_user_attr(trial_id, OWNER, self.owner)
                return granted
            with self.lock:  # Optuna's journal grants a trial twice to the same process
                if self.storage.get_trial(trial_id).state is not TrialState.WAITING:
                    return False
                self.storage.set_trial_user_attr(trial_id, OWNER, self.owner)  # first: a kill here leaves it waiting
                return self.storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        except UpdateFinishedTrialError:
            return False

    def owns(self, number: int) -> bool:
        """Whether this worker still holds a running trial, and no other worker has taken it over."""
        trial = self.storage.get_trial(self.trial_id(number))
        return trial.state is TrialState.RUNNING and trial.user_attrs.get(OWNER) == self.owner

    def release(self, owner: str | None = None) -> None:
        """Requeue the running trials of `owner`, by default this worker."""
        for trial in self.trials():
            if trial.state is TrialState.RUNNING and trial.user_attrs.get(OWNER) == (owner or self.owner):
                self._requeue(trial)

    def release_all(self) -> None:
        """Requeue every running trial; only for a process that knows that no worker is running."""
        for trial in self.load_study().get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            self._requeue(trial)

    def stale(self) -> set[int]:
        """The running trials without a recent heartbeat: their process, perhaps on another machine, may have died.

        Always empty for a journal, which is used on one machine only, where the pool sees its workers exit.
        """
        return {number for number in stale_trials(self.storage, self.study_name) if number < self.n_trials}

    def release_stale(self, numbers: Container[int]) -> None:
        """Requeue those of these trials that are stale."""
        stale = self.stale()
        for trial in self.trials():
            if trial.number in numbers and trial.number in stale:
                self._requeue(trial)

    @contextmanager
    def heartbeat(self, number: int) -> Iterator[None]:
        """Record a trial's heartbeats from a thread, if the storage supports them."""
        if not has_heartbeat(self.storage):
            yield
            return
        ended, storage, trial_id = threading.Event(), self.storage, self.trial_id(number)

        def beat() -> None:
            while not ended.is_set():
                try:
                    storage.record_heartbeat(trial_id)
                except Exception as error:  # keep the thread alive: without heartbeats another worker takes the trial
                    log.warning("No heartbeat of trial %d could be recorded (%s); trying again.", number, error)
                ended.wait(HEARTBEAT_INTERVAL)

        thread = threading.Thread(target=beat, name="dmx-heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(1)  # not longer: the database may be unreachable

    def _requeue(self, trial: FrozenTrial) -> None:
        with suppress(UpdateFinishedTrialError):
            self.storage.set_trial_state_values(self.trial_id(trial.number), TrialState.WAITING)

    def trial_id(self, number: int) -> int:
        """The storage's id of a trial."""
        study_id = self.storage.get_study_id_from_name(self.study_name)
        return self.storage.get_trial_id_from_study_id_trial_number(study_id, number)


def open_queue(config: StudyConfig, folder: Path, url: str | None = None, owner: str | None = None) -> TrialQueue:
    """Open the queue of a study; create the study in its storage if it is missing.

    Args:
        config: The study.
        folder: The study's folder.
        url: The study's database; None: the journal in `folder`.
        owner: The worker that claims trials.
    """
    optuna.logging.set_verbosity(logging.WARNING)
    storage = open_database(url) if url else open_journal(folder)
    directions = [goal.direction or "minimize" for goal in config.goals]
    optuna.create_study(storage=storage, study_name=config.name, directions=directions, load_if_exists=True)
    lock = nullcontext() if url else FileLock(folder / "claims.lock")
    return TrialQueue(storage, config.name, config.trials, owner or new_owner(), lock)


def trial_run_id(study: str, number: int) -> str:
    """The name of a trial's run."""
    return f"{study}-{number:04d}"


def check_runs(home: Home, study: str, numbers: Iterable[int], trials: Callable[[], Sequence[FrozenTrial]]) -> None:
    """Check that every existing run folder named after one of these trials belongs to that trial.

    Folders are listed before trials are read, because a trial is assigned its run before the run's folder is created.

    Raises:
        UserError: A folder does not: the trials are in another storage, or were removed.
    """
    there = [number for number in numbers if home.run(trial_run_id(study, number)).exists()]
    begun = {trial.number for trial in trials() if RUN in trial.user_attrs} if there else set()
    for number in there:
        if number not in begun:
            raise UserError(
                f"{home.run(trial_run_id(study, number))} exists, but the study has no such trial: its trials are in "
                "another storage, or were deleted. Restore them, remove the old run folders, or use another `name` or "
                "--home."
            )
