"""A study's trials as a sampler should see them, which is not always as they are stored."""

from collections.abc import Callable, Container, Sequence
from typing import Any

from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

View = Callable[[Sequence[FrozenTrial]], list[FrozenTrial]]


class Within(BaseStorage):
    """A storage that asks another one, `storage`, everything."""

    storage: BaseStorage


def delegated(name: str) -> Callable[..., Any]:
    """The method of that name, asked of the storage within."""
    return lambda self, *args, **kwargs: getattr(self.storage, name)(*args, **kwargs)


for name in BaseStorage.__abstractmethods__:
    setattr(Within, name, delegated(name))
Within.__abstractmethods__ = frozenset()


class Seen(Within):
    """A storage whose trials have the one value, to be minimised, that `view` gives them."""

    def __init__(self, storage: BaseStorage, view: View) -> None:
        self.storage, self.view = storage, view

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """See `BaseStorage`."""
        return [StudyDirection.MINIMIZE]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """See `BaseStorage`."""
        found = self.view(self.storage.get_all_trials(study_id, deepcopy=False))
        return [trial for trial in found if states is None or trial.state in states]
