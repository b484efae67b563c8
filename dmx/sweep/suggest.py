"""A trial's values: from Optuna's samplers, from designs that fix all trials beforehand, or from the first trials."""

import hashlib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

import torch
from optuna import Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler
from torch.quasirandom import SobolEngine

from dmx.config import StudyConfig
from dmx.config.space import Dimension, Space, value_at
from dmx.config.study import GpConfig, Nsga2Config, Nsga3Config, SamplerConfig, TpeConfig
from dmx.errors import ConfigError, Problem
from dmx.registry import Choice
from dmx.sweep.halving import rank_trials, rungs
from dmx.sweep.optuna_private import RankedStudy, set_fixed_params
from dmx.sweep.pruning import make_pruner
from dmx.sweep.trial_queue import TrialQueue

MAX_COMBINATIONS = 100_000
"""The maximum number of combinations of a grid, equal to the maximum number of trials."""


def suggest(
    queue: TrialQueue, config: StudyConfig, space: Space, number: int, first: Sequence[Mapping[str, Any]] = ()
) -> tuple[Trial, dict[str, Any]]:
    """Suggest a value for every dimension that applies to a trial.

    Suggestions depend only on the seed and on the trials before this one: each dimension gets a sampler seeded from
    (seed, trial, dimension), so restarts of the study, or a worker killed between two dimensions, change nothing. An
    interrupted trial keeps the values that it already has.

    Args:
        queue: The study's trials.
        config: The study.
        space: The search space.
        number: The trial, which this worker has claimed.
        first: Fixed values of the first trials; dimensions that they leave out are sampled.

    Returns:
        The trial, and its values by dimension path.
    """
    make = partial(make_sampler, config.sampler)
    trial_id = queue.trial_id(number)
    study = queue.load_study(
        make(derived_seed(config.seed, number, "")), make_pruner(config.pruner, config.experiment.epochs)
    )
    if rungs(config):
        study = RankedStudy(study, partial(rank_trials, config=config))
    if number < len(first):
        set_fixed_params(queue.storage, trial_id, first[number])
    trial = Trial(study, trial_id)
    values: dict[str, Any] = {}
    for dimension in space.dimensions:
        if dimension.applies(values):
            study.sampler = make(derived_seed(config.seed, number, dimension.path))
            values[dimension.path] = suggest_value(trial, dimension)
    return Trial(queue.load_study(RandomSampler()), trial_id) if rungs(config) else trial, values


def suggest_value(trial: Trial, dimension: Dimension) -> Any:
    """Sample a value for a dimension with the trial's sampler."""
    wanted = distribution(dimension)
    if isinstance(wanted, CategoricalDistribution):
        return trial.suggest_categorical(dimension.path, wanted.choices)
    if isinstance(wanted, IntDistribution):
        return trial.suggest_int(dimension.path, wanted.low, wanted.high, step=wanted.step, log=wanted.log)
    assert isinstance(wanted, FloatDistribution)
    return trial.suggest_float(dimension.path, wanted.low, wanted.high, step=wanted.step, log=wanted.log)


def distribution(dimension: Dimension) -> BaseDistribution:
    """The dimension as Optuna's distribution."""
    search = dimension.search
    if isinstance(search, Choice):
        return CategoricalDistribution(search.values)
    if dimension.whole:
        return IntDistribution(int(search.low), int(search.high), log=search.log, step=int(search.step or 1))
    return FloatDistribution(search.low, search.high, log=search.log, step=search.step)


def make_sampler(config: SamplerConfig, seed: int) -> BaseSampler:
    """Create the sampler with a seed; for a design, a random sampler for the parameters that it does not set.

    Each dimension of each trial gets a new sampler, so that a sampler's only state is the storage. CMA-ES is not
    offered: it does not support categorical parameters, and a space of registered components is mostly categorical.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # TPE's `group`, GP and NSGA-III
        match config:
            case TpeConfig():
                return TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=config.startup_trials)
            case GpConfig():
                return GPSampler(seed=seed, n_startup_trials=config.startup_trials, warn_independent_sampling=False)
            case Nsga2Config():
                return NSGAIISampler(seed=seed, population_size=config.population)
            case Nsga3Config():
                return NSGAIIISampler(seed=seed, population_size=config.population)
            case _:
                return RandomSampler(seed=seed)


def derived_seed(seed: int, number: int, path: str) -> int:
    """A seed below 2^32 for one dimension of one trial."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}/{path}".encode()).digest()[:4])


def first_trials(config: StudyConfig, space: Space) -> list[dict[str, Any]]:
    """The fixed values of the first trials: the study's own experiment as the baseline, then its queue.

    For a space-filling design its points follow; a grid has only its combinations. Values that are not fixed, or that
    lie outside the space, are sampled.

    Raises:
        ConfigError: The queue sets a parameter that does not vary, or a value outside the space; or a grid is infinite.
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
    """The values of the study's own experiment for the dimensions of the space, except those outside the space."""
    data = space.experiment.dump()
    values: dict[str, Any] = {}
    for dimension in space.dimensions:
        if dimension.applies(values):
            found = value_at(data, dimension)
            if dimension.holds(found):
                values[dimension.path] = found
    return values


def left_out(space: Space) -> dict[str, Any]:
    """The values of the study's own experiment that lie outside the space; trial 0 has others in their place."""
    data, own = space.experiment.dump(), own_values(space)
    return {
        dimension.path: value_at(data, dimension)
        for dimension in space.dimensions
        if dimension.applies(own) and dimension.path not in own
    }


def design(config: StudyConfig, space: Space) -> list[dict[str, Any]] | None:
    """The values of every trial of a design: the combinations of a grid, or the points of a Sobol sequence.

    Returns:
        The values; None if the sampler suggests trials one after the other.

    Raises:
        ConfigError: There are fewer combinations than trials, or infinitely many.
    """
    if config.sampler.name == "qmc":
        return sobol(space, config.trials, config.seed)
    if config.sampler.name != "grid":
        return None
    endless = [dimension.path for dimension in space.dimensions if count(dimension) is None]
    problems = [Problem(f"search.{path}", "a grid needs a list, or a range with a `step`") for path in endless]
    combinations = [] if problems else list(islice(grid(space.dimensions, {}), MAX_COMBINATIONS + 1))
    if len(combinations) > MAX_COMBINATIONS:
        what = f"the grid has more than {MAX_COMBINATIONS:,} combinations; take fewer values or larger steps"
        problems = [Problem("search", what)]
    elif not problems and len(combinations) < config.trials:
        what = f"the grid has {len(combinations)} combinations, but trials is {config.trials}"
        problems = [Problem("trials", f"{what}; lower it to {len(combinations)}")]
    if problems:
        raise ConfigError(f"study '{config.name}'", problems)
    return combinations


def grid(dimensions: tuple[Dimension, ...], values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every combination of the applicable dimensions; the last dimension varies fastest."""
    if not dimensions:
        yield dict(values)
        return
    first, *rest = dimensions
    if not first.applies(values):
        yield from grid(tuple(rest), values)
        return
    for number in range(count(first) or 0):
        yield from grid(tuple(rest), {**values, first.path: nth(first, number)})


def step_of(dimension: Dimension) -> float | None:
    """The step of a range; None if it is continuous."""
    search = dimension.search
    assert not isinstance(search, Choice)
    return search.step or (1 if dimension.whole and not search.log else None)


def count(dimension: Dimension) -> int | None:
    """The number of values of a dimension; None if there are infinitely many."""
    search = dimension.search
    if isinstance(search, Choice):
        return len(search.values)
    step = step_of(dimension)
    return None if step is None else math.floor(min((search.high - search.low) / step + 1e-9, 2**53)) + 1


def nth(dimension: Dimension, number: int) -> Any:
    """The value at index `number` of a finite dimension, computed directly, as there may be too many for a list."""
    search = dimension.search
    if isinstance(search, Choice):
        return search.values[number]
    value = search.low + number * (step_of(dimension) or 1)
    return int(value) if dimension.whole else value


def sobol(space: Space, trials: int, seed: int) -> list[dict[str, Any]]:
    """The values of trial k from point k of a scrambled Sobol sequence; inapplicable dimensions skip a coordinate."""
    found = []
    engine = SobolEngine(len(space.dimensions), scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    for point in engine.draw(trials, dtype=torch.float64):
        values: dict[str, Any] = {}
        for u, dimension in zip(point, space.dimensions, strict=True):
            if dimension.applies(values):
                values[dimension.path] = quantile(dimension, float(u))
        found.append(values)
    return found


def quantile(dimension: Dimension, u: float) -> Any:
    """The value of a dimension at the quantile u in [0, 1)."""
    values = count(dimension)
    if values is not None:
        return nth(dimension, int(u * values))
    search = dimension.search
    assert not isinstance(search, Choice)
    if search.log:
        value = search.low * (search.high / search.low) ** u
        return round(value) if dimension.whole else value
    return search.low + u * (search.high - search.low)
