"""Thompson sampling by a random forest: each candidate's value is that of one tree, drawn at random.

Trees split conditional spaces without a metric between configurations (Hutter et al. 2011, "Sequential model-based
optimization for general algorithm configuration"); a tree of a random candidate is a draw of what is possible there
(Thompson 1933), as are the quantiles of Salinas et al. 2023, "Optimizing hyperparameters with conformal quantile
regression".
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import norm, rankdata

from dmx.config import StudyConfig
from dmx.config.space import Dimension, Space
from dmx.config.study import ForestConfig
from dmx.registry import Choice, Range
from dmx.sweep.design import count, grid, quantile
from dmx.sweep.sampler_view import PARAMETER_FAILURES

Values = Mapping[str, Any]
TREES = 30
CANDIDATES = 1000
"""Configurations to choose from: every one of a small space, or half at random and half near the best trials."""


class ForestSampler(BaseSampler):
    """Proposes whole configurations.

    With one objective the forest learns a trial's best value from its configuration and its last epoch, and predicts
    it for the last epoch of all; so it learns from paused and pruned trials, too. With several objectives it learns
    the trial's place in the study's order, as other samplers do. Both are normal scores, so that no value is extreme.

    Attributes:
        config: The study.
        space: Its search space.
        seed: Of everything that is drawn.
    """

    def __init__(self, config: StudyConfig, space: Space, seed: int) -> None:
        self.config, self.space, self.seed = config, space, seed

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """See Optuna's `BaseSampler`; the space is that of the study."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The candidate with the least draw, of those that no trial has; nothing before enough trials have a value."""
        assert isinstance(self.config.sampler, ForestConfig)
        trials = [one for one in study.get_trials(deepcopy=False) if one.number != trial.number]
        ranked = sorted((one for one in trials if one.state is TrialState.COMPLETE), key=lambda one: one.values[0])
        if len(ranked) < self.config.sampler.startup_trials:
            return {}
        from sklearn.ensemble import ExtraTreesRegressor

        rng = np.random.default_rng(self.seed)
        candidates = self.candidates(
            [one.params for one in ranked], {key(one.params) for one in trials if one.number >= 0}, rng
        )
        if not candidates:
            return {}
        epochs, scores = self.learned(ranked)
        forest = ExtraTreesRegressor(TREES, min_samples_leaf=2, random_state=int(rng.integers(2**31)))
        forest.fit(self.features([one.params for one in ranked], epochs), scores)
        ends = self.features(candidates, [self.config.experiment.epochs] * len(candidates))
        values = np.stack([tree.predict(ends) for tree in forest.estimators_])
        drawn = values[rng.integers(TREES, size=len(candidates)), np.arange(len(candidates))]
        return dict(candidates[int(np.argmin(drawn))])

    def learned(self, ranked: Sequence[FrozenTrial]) -> tuple[list[int], np.ndarray]:
        """The last epoch of each trial, and its score.

        Trials of an earlier study (numbers below 0) have values of other data, so their own order is their score.
        """
        last = self.config.experiment.epochs
        if len(self.config.goals) > 1:
            return [last] * len(ranked), normal_scores(range(len(ranked)))
        epochs, scores = [last] * len(ranked), np.empty(len(ranked))
        earlier = [i for i, trial in enumerate(ranked) if trial.number < 0]
        own = [i for i, trial in enumerate(ranked) if trial.number >= 0]
        values = [self.value(ranked[i]) for i in own]
        for i, value in zip(own, values, strict=True):
            epochs[i] = max(ranked[i].intermediate_values) if np.isfinite(value) else last
        scores[earlier], scores[own] = normal_scores(range(len(earlier))), normal_scores(values)
        return epochs, scores

    def value(self, trial: FrozenTrial) -> float:
        """A trial's best value, least first; infinity where it failed or has none."""
        seen = trial.intermediate_values.values()
        if not seen or trial.user_attrs.get("outcome") in PARAMETER_FAILURES:
            return math.inf
        return min(map(self.config.experiment.objective.descending, seen))

    def features(self, rows: Sequence[Values], epochs: Sequence[int]) -> np.ndarray:
        """Configurations and epochs as numbers."""
        columns = [features(self.space.dimensions, values) for values in rows]
        return np.column_stack([np.array(columns), np.log(epochs)]).astype(np.float32)

    def candidates(
        self, best_first: Sequence[Values], tried: set[frozenset[tuple[str, Any]]], rng: np.random.Generator
    ) -> list[Values]:
        """Configurations that were not tried."""
        every = list(islice(self._every(), CANDIDATES + 1))
        if not 0 < len(every) <= CANDIDATES:
            near = best_first[: max(1, len(best_first) // 10)]
            every = [self._drawn({}, rng) for _ in range(CANDIDATES // 2)]
            every += [self._near(near[i % len(near)], rng) for i in range(CANDIDATES // 2)]
        return [*{key(one): one for one in every if key(one) not in tried}.values()]

    def _every(self) -> Iterable[Values]:
        countable = all(count(dimension) is not None for dimension in self.space.dimensions)
        return grid(self.space.dimensions, {}) if countable else ()

    def _near(self, values: Values, rng: np.random.Generator) -> Values:
        """A configuration with one parameter drawn anew, and what then applies besides."""
        changed = rng.choice(sorted(values))
        return self._drawn({path: value for path, value in values.items() if path != changed}, rng)

    def _drawn(self, kept: Values, rng: np.random.Generator) -> Values:
        values: dict[str, Any] = {}
        for dimension in self.space.dimensions:
            path = dimension.path
            if dimension.applies(values):
                values[path] = kept[path] if path in kept else quantile(dimension, rng.random())
        return values

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value at random, where nothing was proposed or the parameter has a place in fixed values alone."""
        return RandomSampler(self.seed).sample_independent(study, trial, param_name, param_distribution)


def normal_scores(values: Sequence[float]) -> np.ndarray:
    """The quantiles of the normal distribution at the ranks of values, 0 the median's."""
    return norm.ppf((rankdata(values) - 0.5) / len(values)) if len(values) else np.empty(0)


def key(values: Values) -> frozenset[tuple[str, Any]]:
    """What two equal configurations share."""
    return frozenset(values.items())


def features(dimensions: Sequence[Dimension], values: Values) -> list[float]:
    """A configuration as numbers, -1 or 0 where a parameter does not apply.

    A number is its place among choices, or from 0 to 1 in its range; a name is one column for each choice.
    """
    found: list[float] = []
    for dimension in dimensions:
        search, path = dimension.search, dimension.path
        if not isinstance(search, Choice):
            found.append(place(values[path], search) if path in values else -1.0)
        elif len(numbers := [one for one in search.values if isinstance(one, int | float)]) == len(search.values):
            found.append(float(sorted(numbers).index(values[path])) if path in values else -1.0)
        else:
            found += [float(path in values and choice == values[path]) for choice in search.values]
    return found


def place(value: float, search: Range) -> float:
    """Where a value lies in its range, 0 to 1."""
    low, high = search.low, search.high
    return math.log(value / low) / math.log(high / low) if search.log else (value - low) / (high - low)
