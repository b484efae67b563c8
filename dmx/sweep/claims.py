"""Which process works on which trial, in every storage alike.

A study's trials are put into its queue beforehand, so that their number is right whatever starts, dies or starts again:
a process claims the first that waits, which the storage grants to one process alone, and a trial whose process is gone
waits again, with all that it has.
"""

import logging
import threading
import uuid
from collections.abc import Container, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import FrozenTrial, TrialState

BEAT = 15
"""Seconds between two signs of life of a trial in a database."""
SILENCE = 60
"""Seconds without one after which its process may be gone."""
OWNER = "owner"
"""Where a trial says who has claimed it last."""
log = logging.getLogger(__name__)


def unique() -> str:
    """A name that no other process has."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Claims:
    """The queue of a study, and one who takes trials from it.

    Attributes:
        storage: Where its trials are.
        study: Its name.
        total: How many trials it has in all; what is numbered beyond that is not looked at.
        owner: The name that stands with the trials that are claimed here.
        gate: A lock for one claim at a time, where the storage itself may grant a trial to two.
    """

    storage: BaseStorage
    study: str
    total: int
    owner: str = field(default_factory=unique)
    gate: AbstractContextManager[Any] = field(default_factory=nullcontext)

    def fresh(self, sampler: BaseSampler | None = None, pruner: BasePruner | None = None) -> optuna.Study:
        """The study without anything remembered: a sampler sees every trial that has ended by now."""
        return optuna.load_study(study_name=self.study, storage=self.storage, sampler=sampler, pruner=pruner)

    def trials(self) -> list[FrozenTrial]:
        """The trials that count, by number."""
        id = self.storage.get_study_id_from_name(self.study)
        return [trial for trial in self.storage.get_all_trials(id, deepcopy=False) if trial.number < self.total]

    def fill(self) -> None:
        """Put as many trials into the queue as are missing; some more where two do so at once, which do not count."""
        study = self.fresh()
        for _ in range(len(self.trials()), self.total):
            study.enqueue_trial({})

    def finished(self) -> int:
        """How many trials have ended, in whatever way."""
        return sum(trial.state.is_finished() for trial in self.trials())

    def claim(self, number: int) -> bool:
        """Take a trial that waits; False where another process has taken it, or it has ended."""
        id = self.id_of(number)
        try:
            if isinstance(self.storage, BaseHeartbeat):
                self.storage.record_heartbeat(id)  # first, for an old one would count as silence
                granted = self.storage.set_trial_state_values(id, TrialState.RUNNING)
                if granted:
                    self.storage.set_trial_user_attr(id, OWNER, self.owner)
                return granted
            with self.gate:  # Optuna's journal grants a trial again to who had it before, whoever has it now
                if self.storage.get_trial(id).state is not TrialState.WAITING:
                    return False
                self.storage.set_trial_user_attr(id, OWNER, self.owner)  # first, so that who dies here has no trial
                return self.storage.set_trial_state_values(id, TrialState.RUNNING)
        except UpdateFinishedTrialError:
            return False

    def mine(self, number: int) -> bool:
        """Whether a trial is claimed here and nobody has taken it away."""
        trial = self.storage.get_trial(self.id_of(number))
        return trial.state is TrialState.RUNNING and trial.user_attrs.get(OWNER) == self.owner

    def release(self, owner: str | None = None) -> None:
        """Let those trials wait that `owner`, or whoever this is, has claimed; what has ended stays as it is."""
        for trial in self.trials():
            if trial.state is TrialState.RUNNING and trial.user_attrs.get(OWNER) == (owner or self.owner):
                self._free(trial)

    def release_all(self) -> None:
        """Let every trial wait that somebody has claimed; for who knows that nobody works on them."""
        for trial in self.fresh().get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            self._free(trial)

    def silent(self) -> set[int]:
        """The trials whose process, perhaps on another machine, has given no sign of life for a while."""
        if not isinstance(self.storage, BaseHeartbeat):
            return set()  # one machine, on which the supervisor sees its workers end
        silent = self.storage._get_stale_trial_ids(self.storage.get_study_id_from_name(self.study))
        return {t.number for t in self.trials() if t.state is TrialState.RUNNING and t._trial_id in silent}

    def release_silent(self, numbers: Container[int]) -> None:
        """Let those of these trials wait that are silent."""
        silent = self.silent()
        for trial in self.trials():
            if trial.number in numbers and trial.number in silent:
                self._free(trial)

    @contextmanager
    def alive(self, number: int) -> Iterator[None]:
        """Give signs of life of a trial from a thread, where the storage takes them."""
        if not isinstance(self.storage, BaseHeartbeat):
            yield
            return
        ended, storage, id = threading.Event(), self.storage, self.id_of(number)

        def beat() -> None:
            while not ended.is_set():
                try:
                    storage.record_heartbeat(id)
                except Exception as error:  # without signs of life the trial would be another's
                    log.warning("No sign of life of trial %d could be given (%s); trying again.", number, error)
                ended.wait(BEAT)

        thread = threading.Thread(target=beat, name="dmx-beat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(1)  # the database may be away

    def _free(self, trial: FrozenTrial) -> None:
        with suppress(UpdateFinishedTrialError):
            self.storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)

    def id_of(self, number: int) -> int:
        """The storage's own name for a trial."""
        study = self.storage.get_study_id_from_name(self.study)
        return self.storage.get_trial_id_from_study_id_trial_number(study, number)
