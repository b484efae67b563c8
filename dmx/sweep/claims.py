"""Which process works on which trial, in every storage alike.

A study's trials are put into its queue beforehand, so that their number is right whatever starts, dies or starts again:
a process claims the first that waits, which the storage grants to one process alone, and a trial whose process is gone
waits again, with all that it has.
"""

import threading
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
"""Seconds without one after which its process counts as gone."""


@dataclass(frozen=True)
class Claims:
    """The queue of a study.

    Attributes:
        storage: Where its trials are.
        study: Its name.
        total: How many trials it has in all; what is numbered beyond that is not looked at.
    """

    storage: BaseStorage
    study: str
    total: int

    def fresh(self, sampler: BaseSampler | None = None, pruner: BasePruner | None = None) -> optuna.Study:
        """The study without anything remembered: a sampler sees every trial that has ended by now."""
        return optuna.load_study(study_name=self.study, storage=self.storage, sampler=sampler, pruner=pruner)

    def trials(self) -> list[FrozenTrial]:
        """The trials that count, by number."""
        id = self.storage.get_study_id_from_name(self.study)
        return [trial for trial in self.storage.get_all_trials(id, deepcopy=False) if trial.number < self.total]

    def fill(self, first: Sequence[Mapping[str, Any]]) -> None:
        """Put as many trials into the queue as are missing, the first of them with these values."""
        study = self.fresh()
        for number in range(len(self.trials()), self.total):
            study.enqueue_trial(dict(first[number]) if number < len(first) else {})

    def finished(self) -> int:
        """How many trials have ended, in whatever way."""
        return sum(trial.state.is_finished() for trial in self.trials())

    def claim(self) -> int | None:
        """The number of the first trial that waits, which is now this process's; None where none waits."""
        for trial in self.trials():
            if trial.state is TrialState.WAITING:
                if isinstance(self.storage, BaseHeartbeat):
                    self.storage.record_heartbeat(trial._trial_id)  # first, for an old one would count as silence
                if self._granted(trial):
                    return trial.number
        return None

    def release(self, number: int) -> None:
        """Let a trial wait for the next who claims it; one that has ended stays as it is."""
        try:
            self.storage.set_trial_state_values(self.id_of(number), TrialState.WAITING)
        except UpdateFinishedTrialError:
            return

    def release_all(self, but: Container[int | None] = ()) -> None:
        """Let every trial wait that somebody has claimed, `but` for some; for who knows that nobody works on them."""
        for trial in self.trials():
            if trial.state is TrialState.RUNNING and trial.number not in but:
                self.release(trial.number)

    def release_silent(self) -> None:
        """Let those trials wait whose process, perhaps on another machine, has given no sign of life for a while."""
        if not isinstance(self.storage, BaseHeartbeat):
            return  # one machine, on which the supervisor sees its workers end
        silent = self.storage._get_stale_trial_ids(self.storage.get_study_id_from_name(self.study))
        for trial in self.trials():
            if trial.state is TrialState.RUNNING and trial._trial_id in silent:
                self.release(trial.number)

    @contextmanager
    def alive(self, number: int) -> Iterator[None]:
        """Give signs of life of a trial from a thread, where the storage takes them."""
        if not isinstance(self.storage, BaseHeartbeat):
            yield
            return
        ended, storage, id = threading.Event(), self.storage, self.id_of(number)

        def beat() -> None:
            while True:
                storage.record_heartbeat(id)
                if ended.wait(BEAT):
                    return

        thread = threading.Thread(target=beat, name="dmx-beat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def id_of(self, number: int) -> int:
        """The storage's own name for a trial."""
        study = self.storage.get_study_id_from_name(self.study)
        return self.storage.get_trial_id_from_study_id_trial_number(study, number)

    def _granted(self, trial: FrozenTrial) -> bool:
        try:
            return self.storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        except UpdateFinishedTrialError:
            return False
