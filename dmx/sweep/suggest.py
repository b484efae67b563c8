"""A trial's values: from Optuna's samplers, from designs that fix all trials beforehand, or from the first trials."""

import hashlib
import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import optuna
from optuna import Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from dmx.config import StudyConfig
from dmx.config.space import Dimension, Space, value_at
from dmx.config.study import ForestConfig, GpConfig, Nsga2Config, Nsga3Config, RandomConfig, SamplerConfig, TpeConfig
from dmx.errors import ConfigError, Problem
from dmx.outcome import Outcome
from dmx.registry import Choice
from dmx.sweep.design import MAX_COMBINATIONS, combinations, design
from dmx.sweep.forest import ForestSampler, Values
from dmx.sweep.optuna_private import SamplerView, set_fixed_params
from dmx.sweep.pruning import make_pruner
from dmx.sweep.sampler_view import by_rank, trials_for_sampler
from dmx.sweep.trial_queue import TrialQueue

DRAWS = 10
"""How often the sampler draws again where it proposes what an earlier trial has; then so many draws are random."""


def suggest(
    queue: TrialQueue,
    config: StudyConfig,
    space: Space,
    number: int,
    first: Sequence[Values] = (),
    warm_start_trials: Sequence[FrozenTrial] = (),
) -> tuple[Trial, dict[str, Any]]:
    """Suggest a value for every dimension that applies to a trial.

    Suggestions depend only on the seed and on the trials before this one: each dimension gets a sampler seeded from
    (seed, trial, dimension), and all values are drawn before the first is stored. So restarts of the study, or a worker
    killed between two dimensions, change nothing. An interrupted trial keeps the values that it already has.

    Args:
        queue: The study's trials.
        config: The study.
        space: The search space.
        number: The trial, which this worker has claimed.
        first: Fixed values of the first trials; dimensions that they leave out are sampled.
        warm_start_trials: Trials of an earlier study, best first.

    Returns:
        The trial, and its values by dimension path.
    """
    given = first[number] if number < len(first) else {}
    study = queue.load_study(RandomSampler(), make_pruner(config.pruner, config.experiment.epochs))
    trial_id = queue.trial_id(number)
    if given:
        set_fixed_params(queue.storage, trial_id, given)
    stored = queue.storage.get_trial(trial_id).params
    values = follow(space, stored)
    if values is None:
        proposals = Proposals(config, space, study, queue.trials(), number, warm_start_trials)
        values = proposals.unlike_the_others(given)
        if not stored.items() <= values.items():  # other trials have ended since some of the values were stored
            values = proposals.unlike_the_others({**given, **stored})
        for dimension in space.dimensions:
            if dimension.path in values.keys() - stored.keys():
                wanted = distribution(dimension)
                inner = wanted.to_internal_repr(values[dimension.path])
                queue.storage.set_trial_param(trial_id, dimension.path, inner, wanted)
    return Trial(study, trial_id), values


def follow(space: Space, stored: Values) -> dict[str, Any] | None:
    """The values of all dimensions that apply; None if one is missing."""
    values: dict[str, Any] = {}
    for dimension in space.dimensions:
        if dimension.applies(values):
            if dimension.path not in stored:
                return None
            values[dimension.path] = stored[dimension.path]
    return values


@dataclass(frozen=True)
class Proposals:
    """What a study's sampler proposes for one trial.

    Attributes:
        config: The study.
        space: The search space.
        study: The study in Optuna.
        trials: Its trials, as they are now.
        number: The trial to make proposals for.
        warm_start_trials: Trials of an earlier study, best first.
    """

    config: StudyConfig
    space: Space
    study: optuna.Study
    trials: Sequence[FrozenTrial]
    number: int
    warm_start_trials: Sequence[FrozenTrial] = ()

    def unlike_the_others(self, given: Values) -> dict[str, Any]:
        """Propose values that no other trial has, as long as there are any.

        A sampler that has found a good place proposes it again and again, and each time it would use up a trial. So
        another draw is made, and after some draws one at random; a space that is nearly used up is searched for what
        is left of it.
        """
        crashed = {trial.number for trial in self.trials if trial.user_attrs.get("outcome") == Outcome.CRASHED}
        others = {frozenset(t.params.items()) for t in self.trials if t.number not in {*crashed, self.number}}
        seen = self._view()
        values = self._drawn(seen, given, self.config.sampler, 0)
        if values.keys() <= given.keys():
            return values
        for attempt in range(1, 2 * DRAWS + 1):
            if frozenset(values.items()) not in others:
                return values
            sampler = self.config.sampler if attempt <= DRAWS else RandomConfig(name="random")
            values = self._drawn(seen, given, sampler, attempt)
        return self._left(given, others) or values

    def _view(self) -> SamplerView:
        directions = [StudyDirection.MINIMIZE] if by_rank(self.config) else self.study.directions
        return SamplerView(self.study, trials_for_sampler(self.trials, self.config, self.warm_start_trials), directions)

    def _drawn(self, seen: SamplerView, given: Values, config: SamplerConfig, attempt: int) -> dict[str, Any]:
        """The values of one draw, in the way of Optuna's `Trial`: some parameters at once, the others one by one."""
        trial = next(trial for trial in self.trials if trial.number == self.number)
        values: dict[str, Any] = {}
        at_once: dict[str, Any] | None = None
        for dimension in self.space.dimensions:
            path, wanted = dimension.path, distribution(dimension)
            if not dimension.applies(values):
                continue
            if path in given or wanted.single():
                found = given.get(path, dimension.ends()[0])
            else:
                label = f"{path}#{attempt}" if attempt else path
                sampler = self._sampler(config, given, derived_seed(self.config.seed, self.number, label))
                if at_once is None:
                    at_once = sampler.sample_relative(seen, trial, sampler.infer_relative_search_space(seen, trial))
                known = path in at_once and dimension.holds(at_once[path])
                found = at_once[path] if known else sampler.sample_independent(seen, trial, path, wanted)
            values[path] = wanted.to_external_repr(wanted.to_internal_repr(found))
        return values

    def _sampler(self, config: SamplerConfig, given: Values, seed: int) -> BaseSampler:
        if isinstance(config, ForestConfig):
            return ForestSampler(self.config, self.space, seed, given)
        return make_sampler(config, seed)

    def _left(self, given: Values, others: set[frozenset[tuple[str, Any]]]) -> dict[str, Any] | None:
        """One of the combinations that no other trial has; None if there is none, or they cannot be counted."""
        every = islice(combinations(self.space.dimensions), MAX_COMBINATIONS)
        left = [
            values
            for values in every
            if frozenset(values.items()) not in others
            and all(values[path] == value for path, value in given.items() if path in values)
        ]
        return random.Random(derived_seed(self.config.seed, self.number, "")).choice(left) if left else None


def distribution(dimension: Dimension) -> BaseDistribution:
    """The dimension as Optuna's distribution."""
    search = dimension.search
    if isinstance(search, Choice):
        return CategoricalDistribution(search.values)
    if dimension.whole:
        return IntDistribution(int(search.low), int(search.high), log=search.log, step=int(search.step or 1))
    return FloatDistribution(search.low, search.high, log=search.log, step=search.step)


def make_sampler(config: SamplerConfig, seed: int) -> BaseSampler:
    """Create a sampler of Optuna's with a seed; for a design, a random one for the parameters that it does not set.

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


def first_trials(config: StudyConfig, space: Space, earlier: Sequence[Values] = ()) -> list[dict[str, Any]]:
    """The fixed values of the first trials: the study's own experiment as the baseline, its queue, the earlier study's.

    For a space-filling design its points follow; a grid has only its combinations. Values that are not fixed, or that
    lie outside the space, are sampled.

    Raises:
        ConfigError: The queue sets a parameter that does not vary, or a value outside the space; or a grid is infinite.
    """
    by_path = {dimension.path: dimension for dimension in space.dimensions}
    problems = [
        Problem(f"queue.{i}.{path}", f"{value!r} is not in the search space" if path in by_path else "is not searched")
        for i, values in enumerate(config.queue)
        for path, value in values.items()
        if path not in by_path or not by_path[path].holds(value)
    ]
    if problems:
        raise ConfigError(f"study '{config.name}'", problems)
    points = design(config, space)
    if config.sampler.name == "grid" and points is not None:
        return points
    return [baseline_params(space), *(dict(values) for values in (*config.queue, *earlier)), *(points or ())]


def baseline_params(space: Space) -> dict[str, Any]:
    """The values of the study's own experiment for the dimensions of the space, except those outside the space."""
    data = space.experiment.dump()
    values: dict[str, Any] = {}
    for dimension in space.dimensions:
        if dimension.applies(values):
            found = value_at(data, dimension)
            if dimension.holds(found):
                values[dimension.path] = found
    return values


def baseline_params_outside_space(space: Space) -> dict[str, Any]:
    """The values of the study's own experiment that lie outside the space; trial 0 has others in their place."""
    data, own = space.experiment.dump(), baseline_params(space)
    return {
        dimension.path: value_at(data, dimension)
        for dimension in space.dimensions
        if dimension.applies(own) and dimension.path not in own
    }
