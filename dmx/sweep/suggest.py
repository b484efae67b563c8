"""What Optuna proposes for a trial, as values of the study's space."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from optuna import Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler

from dmx.config import StudyConfig
from dmx.config.space import Dimension, Space
from dmx.config.space import standing as standing_at
from dmx.errors import ConfigError, Problem
from dmx.registry import Choice
from dmx.sweep.claims import Claims
from dmx.sweep.designs import design
from dmx.sweep.halving import in_order, rungs
from dmx.sweep.pruners import pruner
from dmx.sweep.samplers import sampler
from dmx.sweep.seen import Seen

GIVEN = "fixed_params"
"""Where Optuna keeps what a trial is given."""


def distribution(dimension: Dimension) -> BaseDistribution:
    """The dimension in Optuna's terms."""
    search = dimension.search
    if isinstance(search, Choice):
        return CategoricalDistribution(search.values)
    if dimension.whole:
        return IntDistribution(int(search.low), int(search.high), log=search.log, step=int(search.step or 1))
    return FloatDistribution(search.low, search.high, log=search.log, step=search.step)


def propose(
    claims: Claims, config: StudyConfig, space: Space, number: int, first: Sequence[Mapping[str, Any]] = ()
) -> tuple[Trial, dict[str, Any]]:
    """Trial `number`, which this process has claimed, with a value for every dimension that applies.

    What `first` has for that number is given; the rest is drawn.

    The proposal for trial k depends on the seed and on the trials before it alone: each draw gets a generator of its
    own from (seed, k, dimension), so that it makes no difference how often the study was started, nor where in the
    middle of a proposal it was killed. What an unfinished trial has been given it keeps.
    """
    seen = claims
    if rungs(config):
        view = Seen(claims.storage, partial(in_order, config=config))  # type: ignore[abstract]  # its methods are set
        seen = replace(claims, storage=view)
    draws = partial(sampler, config.sampler)
    study = seen.fresh(draws(derived(config.seed, number, "")), pruner(config.pruner, config.experiment.epochs))
    if number < len(first):
        claims.storage.set_trial_system_attr(claims.id_of(number), GIVEN, dict(first[number]))
    trial = Trial(study, claims.id_of(number))
    values: dict[str, Any] = {}
    for dimension in space.dimensions:
        if dimension.applies(values):
            study.sampler = draws(derived(config.seed, number, dimension.path))
            values[dimension.path] = draw(trial, dimension)
    return Trial(claims.fresh(RandomSampler()), claims.id_of(number)) if rungs(config) else trial, values


def first_trials(config: StudyConfig, space: Space) -> list[dict[str, Any]]:
    """What the first trials are given: the study's own experiment, so that all others compare with it; then its queue.

    Points that fill the space come after these; a grid has its combinations alone. What is not given, or what the space
    does not hold, is drawn.

    Raises:
        ConfigError: The queue has a place that does not vary, or a value that is not tried; a grid has no end.
    """
    by_path = {dimension.path: dimension for dimension in space.dimensions}
    problems = [
        Problem(f"queue.{i}.{path}", f"{value!r} is not tried there" if path in by_path else "does not vary here")
        for i, values in enumerate(config.queue)
        for path, value in values.items()
        if path not in by_path or not by_path[path].holds(value)
    ]
    if problems:
        raise ConfigError(f"study '{config.name}'", problems)
    points = design(config, space)
    if config.sampler.name == "grid" and points is not None:
        return points
    return [own_values(space), *(dict(values) for values in config.queue), *(points or ())]


def own_values(space: Space) -> dict[str, Any]:
    """What the study's experiment has where its trials vary, as far as the space holds it."""
    data = space.experiment.dump()
    values: dict[str, Any] = {}
    for dimension in space.dimensions:
        if dimension.applies(values):
            found = standing_at(data, dimension)
            if dimension.holds(found):
                values[dimension.path] = found
    return values


def draw(trial: Trial, dimension: Dimension) -> Any:
    """A value for a dimension."""
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
