"""The queue of a study's trials: which worker has which trial, in every storage alike.

All trials of a study are enqueued before the first begins, so that their number is right whatever process starts, dies
or starts again. A worker claims the first trial that waits, which the storage grants to one worker only. The trial of a
worker that is gone waits again, and keeps all that it has.
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

OWNER, RUN = "owner", "run"
"""The user attributes in which a trial keeps the worker that claimed it last, and its run."""
log = logging.getLogger(__name__)


def new_owner() -> str:
    """A name for a worker that no other worker has."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class TrialQueue:
    """The trials of a study, and the worker that claims some of them.

    Attributes:
        storage: Where the trials are.
        study_name: The study's name.
        n_trials: How many trials it has in all; those numbered beyond that are ignored.
        owner: The worker that claims trials through this object.
        lock: Held during a claim, where the storage itself may grant a trial to two workers.
    """

    storage: BaseStorage
    study_name: str
    n_trials: int
    owner: str = field(default_factory=new_owner)
    lock: AbstractContextManager[Any] = field(default_factory=nullcontext)

    def load_study(self, sampler: BaseSampler | None = None, pruner: BasePruner | None = None) -> optuna.Study:
        """The study, loaded anew without any cache: a sampler sees every trial that has finished by now."""
        return optuna.load_study(study_name=self.study_name, storage=self.storage, sampler=sampler, pruner=pruner)

    def trials(self) -> list[FrozenTrial]:
        """The trials that count, by number."""
        study_id = self.storage.get_study_id_from_name(self.study_name)
        return [t for t in self.storage.get_all_trials(study_id, deepcopy=False) if t.number < self.n_trials]

    def fill(self) -> None:
        """Enqueue the trials that are missing; where two processes do so at once, the surplus is ignored."""
        study = self.load_study()
        for _ in range(len(self.trials()), self.n_trials):
            study.enqueue_trial({})

    def finished(self) -> int:
        """How many trials have finished, in whatever state."""
        return sum(trial.state.is_finished() for trial in self.trials())

    def claim(self, number: int) -> bool:
        """Claim a waiting trial.

        Returns:
            False where another worker has claimed it, or it has finished.
        """
        trial_id = self.trial_id(number)
        try:
            if has_heartbeat(self.storage):
                self.storage.record_heartbeat(trial_id)  # first: with an old heartbeat it would be stale at once
                granted = self.storage.set_trial_state_values(trial_id, TrialState.RUNNING)
                if granted:
                    self.storage.set_trial_user_attr(trial_id, OWNER, self.owner)
                return granted
            with self.lock:  # Optuna's journal grants a trial again to a process that had it before
                if self.storage.get_trial(trial_id).state is not TrialState.WAITING:
                    return False
                self.storage.set_trial_user_attr(trial_id, OWNER, self.owner)  # first: killed here, the trial waits
                return self.storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        except UpdateFinishedTrialError:
            return False

    def owns(self, number: int) -> bool:
        """Whether this worker has claimed a running trial, and no other worker has taken it over."""
        trial = self.storage.get_trial(self.trial_id(number))
        return trial.state is TrialState.RUNNING and trial.user_attrs.get(OWNER) == self.owner

    def release(self, owner: str | None = None) -> None:
        """Let the running trials of `owner`, by default this worker, wait again."""
        for trial in self.trials():
            if trial.state is TrialState.RUNNING and trial.user_attrs.get(OWNER) == (owner or self.owner):
                self._requeue(trial)

    def release_all(self) -> None:
        """Let every running trial wait again; for a process that knows that there are no workers."""
        for trial in self.load_study().get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            self._requeue(trial)

    def stale(self) -> set[int]:
        """The running trials without a recent heartbeat: their process, perhaps on another machine, may be gone.

        In a journal there are none: it is used on one machine only, where the worker pool sees its workers end.
        """
        return {number for number in stale_trials(self.storage, self.study_name) if number < self.n_trials}

    def release_stale(self, numbers: Container[int]) -> None:
        """Let those of these trials wait again that are stale."""
        stale = self.stale()
        for trial in self.trials():
            if trial.number in numbers and trial.number in stale:
                self._requeue(trial)

    @contextmanager
    def heartbeat(self, number: int) -> Iterator[None]:
        """Record a trial's heartbeats from a thread, where the storage has them."""
        if not has_heartbeat(self.storage):
            yield
            return
        ended, storage, trial_id = threading.Event(), self.storage, self.trial_id(number)

        def beat() -> None:
            while not ended.is_set():
                try:
                    storage.record_heartbeat(trial_id)
                except Exception as error:  # the thread must go on: without heartbeats another worker takes the trial
                    log.warning("No heartbeat of trial %d could be recorded (%s); trying again.", number, error)
                ended.wait(HEARTBEAT_INTERVAL)

        thread = threading.Thread(target=beat, name="dmx-heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(1)  # the database may be away

    def _requeue(self, trial: FrozenTrial) -> None:
        with suppress(UpdateFinishedTrialError):
            self.storage.set_trial_state_values(self.trial_id(trial.number), TrialState.WAITING)

    def trial_id(self, number: int) -> int:
        """The storage's id of a trial."""
        study_id = self.storage.get_study_id_from_name(self.study_name)
        return self.storage.get_trial_id_from_study_id_trial_number(study_id, number)


def open_queue(config: StudyConfig, folder: Path, url: str | None = None, owner: str | None = None) -> TrialQueue:
    """The queue of a study; the study is created in its storage where it is missing.

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
    """Make sure that every run that is named like one of these trials of a study is that trial's.

    Folders are listed before trials are read: a trial is assigned its run before the run's folder is made.

    Raises:
        UserError: One is not: the trials are elsewhere, or were removed.
    """
    there = [number for number in numbers if home.run(trial_run_id(study, number)).exists()]
    begun = {trial.number for trial in trials() if RUN in trial.user_attrs} if there else set()
    for number in there:
        if number not in begun:
            raise UserError(
                f"{home.run(trial_run_id(study, number))} is there, but is no run of this study as its trials stand: "
                f"these are elsewhere, or were removed from {home.study(study)}. Bring them back from a copy, or "
                "remove the folders of the old runs as well to begin anew, or give the study another `name`, or "
                "another --home."
            )
