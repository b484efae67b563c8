"""Thompson sampling by a random forest: each candidate's value is that of one tree, drawn at random.

Trees split conditional spaces without a metric between configurations (Hutter et al. 2011, "Sequential model-based
optimization for general algorithm configuration"); a tree of a random candidate is a draw of what is possible there
(Thompson 1933), as are the quantiles of Salinas et al. 2023, "Optimizing hyperparameters with conformal quantile
regression".
"""

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState
from scipy.special import ndtri

from dmx.config import StudyConfig
from dmx.config.space import Dimension, Space
from dmx.config.study import ForestConfig
from dmx.registry import Choice, Range
from dmx.sweep.design import combinations, quantile
from dmx.sweep.halving import DUPLICATE_OF
from dmx.sweep.sampler_view import PARAMETER_FAILURES

Values = Mapping[str, Any]
TREES = 30
CANDIDATES = 1000
"""Configurations to choose from: every one of a small space, or half at random and half near the best trials."""


class ForestSampler(BaseSampler):
    """Proposes whole configurations.

    With one objective the forest learns a trial's best value from its configuration and its last epoch, and predicts
    it for the last epoch of all; so it learns from paused and pruned trials, too. With several objectives, or a bound,
    it learns the trial's place in the study's order, as other samplers do. Both are normal scores, so that no value is
    extreme.

    Attributes:
        config: The study.
        space: Its search space.
        seed: Of everything that is drawn.
        given: Values that are fixed beforehand.
    """

    def __init__(self, config: StudyConfig, space: Space, seed: int, given: Values) -> None:
        self.config, self.space, self.seed, self.given = config, space, seed, given

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """See Optuna's `BaseSampler`; the space is that of the study."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The candidate with the least draw, of those that no trial has; nothing before enough trials have a value."""
        assert isinstance(self.config.sampler, ForestConfig)
        trials = [one for one in study.get_trials(deepcopy=False) if one.number != trial.number]
        ranked = [one for one in trials if one.state is TrialState.COMPLETE and DUPLICATE_OF not in one.user_attrs]
        ranked.sort(key=lambda one: one.values[0])
        if len(ranked) < self.config.sampler.startup_trials:
            return {}
        from sklearn.ensemble import ExtraTreesRegressor

        rng = np.random.default_rng(self.seed)
        tried = {frozenset(one.params.items()) for one in trials if one.number >= 0}
        candidates = self.candidates([one.params for one in ranked], tried, rng)
        if not candidates:
            return {}
        epochs, scores = self.learned(ranked)
        forest = ExtraTreesRegressor(TREES, min_samples_leaf=2, random_state=int(rng.integers(2**31)))
        forest.fit(self.features([one.params for one in ranked], epochs), scores)
        ends = self.features(candidates, [self.config.experiment.epochs] * len(candidates))
        values = np.stack([tree.predict(ends) for tree in forest.estimators_])
        drawn = values[rng.integers(TREES, size=len(candidates)), np.arange(len(candidates))]
        least = np.flatnonzero(drawn == drawn.min())  # many candidates share a leaf
        return dict(candidates[int(rng.choice(least))])

    def learned(self, ranked: Sequence[FrozenTrial]) -> tuple[list[int], np.ndarray]:
        """The last epoch of each trial, and its score; the trials are in the study's order.

        Trials of an earlier study (numbers below 0) have values of other data, so their own order is their score. Of
        trials that failed the study's order is, too.
        """
        last = self.config.experiment.epochs
        if self.config.objectives:
            return [last] * len(ranked), normal_scores(len(ranked))
        scores = np.empty(len(ranked))
        earlier = [i for i, trial in enumerate(ranked) if trial.number < 0]
        values = {i: self.value(trial) for i, trial in enumerate(ranked) if trial.number >= 0}
        epochs = [
            max(t.intermediate_values) if values.get(i, math.inf) < math.inf else last for i, t in enumerate(ranked)
        ]
        scores[earlier] = normal_scores(len(earlier))
        scores[sorted(values, key=lambda i: (values[i], i))] = normal_scores(len(values))
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
        """Configurations that were not tried and have the given values."""
        every: list[Values] = [*islice(combinations(self.space.dimensions), CANDIDATES + 1)]
        if not 0 < len(every) <= CANDIDATES:
            near = [values for values in best_first if values][: max(1, len(best_first) // 10)] or [{}]
            every = [self._drawn({}, rng) for _ in range(CANDIDATES // 2)]
            every += [self._near(near[i % len(near)], rng) for i in range(CANDIDATES // 2)]
        found = {frozenset(one.items()): one for one in every if self._has_given(one)}
        return [one for key, one in found.items() if key not in tried]

    def _has_given(self, values: Values) -> bool:
        return all(values[path] == value for path, value in self.given.items() if path in values)

    def _near(self, values: Values, rng: np.random.Generator) -> Values:
        """A configuration with one parameter drawn anew, and what then applies besides."""
        changed = rng.choice(sorted(values)) if values else None
        return self._drawn({path: value for path, value in values.items() if path != changed}, rng)

    def _drawn(self, kept: Values, rng: np.random.Generator) -> Values:
        kept, values = {**kept, **self.given}, dict[str, Any]()
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


def normal_scores(n: int) -> np.ndarray:
    """The quantiles of the normal distribution at n places, the least first."""
    found: np.ndarray = ndtri((np.arange(n) + 0.5) / n)
    return found


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
