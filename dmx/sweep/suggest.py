"""What Optuna proposes for a trial, as values of the study's space."""

import hashlib
from typing import Any

from optuna import Study, Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from dmx.config import StudyConfig
from dmx.config.space import Dimension, Space
from dmx.registry import Choice
from dmx.sweep.storage import sampler


def distribution(dimension: Dimension) -> BaseDistribution:
    """The dimension in Optuna's terms."""
    search = dimension.search
    if isinstance(search, Choice):
        return CategoricalDistribution(search.values)
    if dimension.whole:
        return IntDistribution(int(search.low), int(search.high), log=search.log, step=int(search.step or 1))
    return FloatDistribution(search.low, search.high, log=search.log, step=search.step)


def ask(study: Study, config: StudyConfig, space: Space) -> tuple[Trial, dict[str, Any]]:
    """The next trial, an unfinished one first, with a value for every dimension that applies.

    The proposal for trial k depends on the seed and on the trials before it alone: each draw gets a generator of its
    own from (seed, k, dimension), so that it makes no difference how often the study was started, nor where in the
    middle of a proposal it was killed. What an unfinished trial has been given it keeps.
    """
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    number = min((trial.number for trial in waiting), default=len(study.get_trials(deepcopy=False)))
    study.sampler = sampler(config, derived(config.seed, number, ""))
    trial = study.ask()
    values: dict[str, Any] = {}
    for dimension in space.dimensions:
        if dimension.applies(values):
            study.sampler = sampler(config, derived(config.seed, number, dimension.path))
            values[dimension.path] = _draw(trial, dimension)
    return trial, values


def _draw(trial: Trial, dimension: Dimension) -> Any:
    wanted = distribution(dimension)
    if isinstance(wanted, CategoricalDistribution):
        return trial.suggest_categorical(dimension.path, wanted.choices)
    if isinstance(wanted, IntDistribution):
        return trial.suggest_int(dimension.path, wanted.low, wanted.high, step=wanted.step, log=wanted.log)
    assert isinstance(wanted, FloatDistribution)
    return trial.suggest_float(dimension.path, wanted.low, wanted.high, step=wanted.step, log=wanted.log)


def derived(seed: int, number: int, path: str) -> int:
    """A seed below 2^32 for one draw of one trial."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}/{path}".encode()).digest()[:4])
