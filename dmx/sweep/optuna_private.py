"""All uses of Optuna's private interface.

`optuna>=5,<6` in pyproject.toml bounds it, and `tests/house/test_private_parts.py` names each use.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Any, TypeGuard

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

FIXED_PARAMS = "fixed_params"
"""The system attribute in which `Study.enqueue_trial` keeps the values that `Trial.suggest_*` returns."""
RDB_METHODS = (*BaseStorage.__abstractmethods__, "record_heartbeat", "_get_stale_trial_ids", "_get_trials")
"""Every public method of `RDBStorage` that queries the database."""


def set_fixed_params(storage: BaseStorage, trial_id: int, values: Mapping[str, Any]) -> None:
    """Fix what the `suggest` methods of a queued trial return, as `Study.enqueue_trial` does for a new one."""
    storage.set_trial_system_attr(trial_id, FIXED_PARAMS, dict(values))


def fixed_params(trial: FrozenTrial) -> Mapping[str, Any]:
    """The values that were fixed before the trial began."""
    found: Mapping[str, Any] = trial.system_attrs.get(FIXED_PARAMS, {})
    return found


def cached(storage: RDBStorage) -> BaseStorage:
    """Wrap a database storage in a cache of finished trials, as `optuna.storages.get_storage` does for a URL."""
    return _CachedStorage(storage)


def has_heartbeat(storage: BaseStorage) -> TypeGuard[_CachedStorage]:
    """Whether the storage supports heartbeats: a database wrapped by `cached` does, a journal does not."""
    return isinstance(storage, _CachedStorage)


def stale_trials(storage: BaseStorage, study_name: str) -> set[int]:
    """The numbers of the running trials without a heartbeat for longer than the storage's grace period."""
    if not has_heartbeat(storage):
        return set()
    stale = storage._get_stale_trial_ids(storage.get_study_id_from_name(study_name))
    return {storage.get_trial_number_from_id(trial_id) for trial_id in stale}


class SamplerView(optuna.Study):
    """A study whose sampler sees these trials alone, as they were when it was created.

    It follows `_BracketStudy` of Optuna's Hyperband pruner, which filters a study's trials on reading.
    """

    def __init__(
        self, study: optuna.Study, trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]
    ) -> None:
        super().__init__(study.study_name, study._storage)
        self._directions = [*directions]
        self._thread_local.cached_all_trials = [*trials]

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        """The trials of the view, whether or not the sampler allows a cache."""
        return super()._get_trials(deepcopy, states, use_cache=True)
