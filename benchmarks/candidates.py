"""Candidates for the default search, which `dmx` does not offer: models of the learning curves, rungs that adapt.

`QuantileSearch` takes the least of Thompson draws from gradient-boosted quantiles (Salinas et al. 2023, "Optimizing
hyperparameters with conformal quantile regression"), without their conformal correction; `ForestSearch` draws trees of
a random forest instead (as Hutter et al. 2011, "SMAC", model with one). Both learn from the configuration and the
epoch, and predict the last epoch.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from replay import DmxSearch, Job
from replay_statistics import alike
from replay_table import Table
from scipy.stats import norm, rankdata
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor
from table_spaces import key

from dmx.config.space import Dimension
from dmx.config.study import HalvingConfig
from dmx.outcome import Outcome
from dmx.registry import Choice
from dmx.sweep.design import grid
from dmx.sweep.sampler_view import in_order
from dmx.sweep.suggest import Values, derived_seed

STARTUP = 10
WORST = 1e6
"""The value of a trial that has diverged."""
QUANTILES = np.linspace(0.1, 0.9, 5)


def features(dimensions: Sequence[Dimension], values: Values) -> list[float]:
    """A configuration as numbers: a number's place among its choices, a name as one column each, -1 where neither."""
    found: list[float] = []
    for dimension in dimensions:
        assert isinstance(dimension.search, Choice)
        choices, value = dimension.search.values, values.get(dimension.path)
        if len(choices) < 2:
            continue
        if all(isinstance(choice, int | float) for choice in choices):
            found.append(-1.0 if value is None else float(sorted(choices).index(value)))
        else:
            found += [float(choice == value) for choice in choices]
    return found


class ModelSearch(DmxSearch):
    """After `STARTUP` random trials each is the best of what a model draws for the configurations not yet tried."""

    def __init__(self, table: Table, seed: int, **settings: Any) -> None:
        super().__init__(table, seed, sampler="random", **settings)
        self.every = list(grid(self.space.dimensions, {}))
        self.x = np.array([features(self.space.dimensions, values) for values in self.every])
        self.places = {key(values): place for place, values in enumerate(self.every)}

    def given(self, number: int) -> Sequence[Values]:
        """See `DmxSearch`."""
        x, y, tried = self.seen()
        left = [place for place in range(len(self.every)) if place not in tried]
        if len(tried) < STARTUP or not left or not len(y):
            return ()
        rng = np.random.default_rng(derived_seed(self.config.seed, number, "model"))
        ends = np.column_stack([self.x[left], np.full(len(left), np.log(self.table.task.epochs))])
        drawn = self.draws(x, norm.ppf((rankdata(y) - 0.5) / len(y)), ends, rng)
        return [{}] * number + [self.every[left[int(np.argmin(drawn))]]]

    def seen(self) -> tuple[np.ndarray, np.ndarray, set[int]]:
        """Each trial's configuration and last epoch, its best value until then, and all that were tried.

        With two objectives it is the place of each trial at its last epoch in the study's own order.
        """
        trials = [trial for trial in self.queue.trials() if trial.params]
        tried = {trial.number: self.places[key(trial.params)] for trial in trials}
        x: list[list[float]] = []
        y: list[float] = []
        if self.table.several:
            for place, trial in enumerate(in_order(trials, self.config)):
                x.append([*self.x[tried[trial.number]], np.log(self.table.task.epochs)])
                y.append(place)
            return np.array(x), np.array(y), {*tried.values()}
        for trial in trials:
            seen, diverged = trial.intermediate_values, trial.user_attrs.get("outcome") == Outcome.DIVERGED
            if seen or diverged:
                last = self.table.task.epochs if diverged else max(seen)
                x.append([*self.x[tried[trial.number]], np.log(last)])
                y.append(WORST if diverged else min(map(self.config.experiment.objective.descending, seen.values())))
        return np.array(x), np.array(y), {*tried.values()}

    def draws(self, x: np.ndarray, y: np.ndarray, ends: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A draw from what the model expects at each of the ends."""
        raise NotImplementedError


class QuantileSearch(ModelSearch):
    """With gradient-boosted quantiles."""

    def draws(self, x: np.ndarray, y: np.ndarray, ends: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """See `ModelSearch`."""
        seed = int(rng.integers(2**31))
        found = [
            GradientBoostingRegressor(loss="quantile", alpha=q, n_estimators=30, learning_rate=0.2, random_state=seed)
            .fit(x, y)
            .predict(ends)
            for q in QUANTILES
        ]
        return np.stack(found)[rng.integers(len(QUANTILES), size=len(ends)), np.arange(len(ends))]


class ForestSearch(ModelSearch):
    """With trees of a random forest."""

    def draws(self, x: np.ndarray, y: np.ndarray, ends: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """See `ModelSearch`."""
        model = ExtraTreesRegressor(30, min_samples_leaf=2, random_state=int(rng.integers(2**31))).fit(x, y)
        found = np.stack([tree.predict(ends.astype(np.float32)) for tree in model.estimators_])
        return found[rng.integers(len(found), size=len(ends)), np.arange(len(ends))]


class AdaptiveHalving(DmxSearch):
    """Halving whose first rung is the earliest at which the first `STARTUP` trials, run to their end, rank alike.

    Alike is a Spearman correlation of at least `least` between the best values until then and those at the end.
    """

    least = 0.7

    def __init__(self, table: Table, seed: int, **settings: Any) -> None:
        super().__init__(table, seed, pruner="none", **settings)
        self.curves: list[np.ndarray] = []

    def ends(self, job: Job, epoch: int) -> None:
        """See `Search`."""
        super().ends(job, epoch)
        if self.table.lengths[job.row] == self.table.task.epochs:
            self.curves.append(self.table.values[job.row])
        if len(self.curves) == STARTUP and self.config.pruner.name == "none":
            pruner = HalvingConfig(name="halving", min_epochs=self.first_rung())
            self.config = self.config.model_copy(update={"pruner": pruner})

    def first_rung(self) -> int:
        """The first rung, of those of halving; the last one where none ranks alike."""
        rungs, curves = [3**k for k in range(10) if 3**k < self.table.task.epochs], np.stack(self.curves)
        columns = [0, 1] if self.table.several else [self.table.own]
        least = np.min([alike(curves[:, :, column]) for column in columns], 0)
        return next((rung for rung in rungs if least[rung - 1] >= self.least), rungs[-1])
