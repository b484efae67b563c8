"""The difference of two candidates on the same samples, with a confidence interval by the paired bootstrap.

What is drawn again, with replacement, are groups of samples, for samples of one scene are not independent; both
candidates are looked at on the same draw, so what makes a scene hard for both cancels out. Where a candidate was
trained with several seeds, these are drawn again, too. The interval is the percentile interval (Efron and Tibshirani
1993, chapter 13; paired over test samples as in Koehn 2004; over groups as in Cameron, Gelbach and Miller 2008).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Float64

from dmx.sums import Samples

Form = Literal["pooled", "per_image"]
Verdict = Literal["better", "same", "worse"]
DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """Second minus first.

    Attributes:
        metric: Its full name.
        first: The first candidate's value, the mean over its seeds.
        second: The other one's.
        low: The lower end of the 95 % interval of the difference.
        high: The upper end.
        higher_is_better: Whether the greater value is the better one.
    """

    metric: str
    first: float
    second: float
    low: float
    high: float
    higher_is_better: bool

    @property
    def value(self) -> float:
        """The difference."""
        return self.second - self.first

    @property
    def clear(self) -> bool:
        """Whether 0 is outside of the interval."""
        return self.low > 0 or self.high < 0

    @property
    def verdict(self) -> Verdict:
        """What the second is, as the interval says."""
        if not self.clear:
            return "same"
        return "better" if (self.value > 0) == self.higher_is_better else "worse"


@dataclass(frozen=True)
class Resampling:
    """Draws of groups, the same for everything that is compared.

    Attributes:
        groups: The group of each sample.
        draws: How many draws.
        seed: Of the draws.
    """

    groups: tuple[str, ...]
    draws: int = DRAWS
    seed: int = 0

    @cached_property
    def _places(self) -> tuple[np.ndarray, int]:
        names, places = np.unique(self.groups, return_inverse=True)
        return places, len(names)

    @cached_property
    def weights(self) -> Float64[np.ndarray, "draws groups"]:
        """How often each group is in each draw; the first one is the data as it is."""
        count = self._places[1]
        drawn = np.random.default_rng(self.seed).multinomial(count, np.full(count, 1 / count), size=self.draws)
        return np.concatenate([np.ones((1, count)), drawn.astype(np.float64)])

    def values(self, samples: Samples, name: str, form: Form) -> Float64[np.ndarray, "draws"]:
        """The metric on each draw; NaN where it is undefined."""
        if form == "pooled":
            return samples.finished(name, self.weights @ self._by_group(samples.sums[name]))
        values = samples.values(name)
        known = ~np.isnan(values)
        each = np.stack([np.where(known, values, 0), known.astype(np.float64)], axis=1)
        total = self.weights @ self._by_group(each)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(total[:, 0] / total[:, 1])

    def _by_group(self, each: Float64[np.ndarray, "N K"]) -> Float64[np.ndarray, "groups K"]:
        places, count = self._places
        sums = np.zeros((count, each.shape[1]))
        np.add.at(sums, places, each)
        return sums

    def over_seeds(self, seeds: Sequence[Samples], name: str, form: Form, draw: int) -> Float64[np.ndarray, "draws"]:
        """The mean over seeds that are drawn again with each draw; the first one is that over all of them."""
        each = np.stack([self.values(one, name, form) for one in seeds])
        chosen = np.random.default_rng((self.seed, draw)).integers(len(seeds), size=(len(seeds), self.draws + 1))
        drawn = np.take_along_axis(each, chosen, axis=0).mean(0)
        drawn[0] = each[:, 0].mean()
        return np.asarray(drawn)


shared_resampling = lru_cache(maxsize=1)(Resampling)
"""The same draws for one metric after the other."""


def difference(
    first: Sequence[Samples], second: Sequence[Samples], metric: str, draws: int = DRAWS, seed: int = 0
) -> Difference | None:
    """How much the second candidate's metric differs from the first one's.

    Args:
        first: The samples of each seed of a candidate.
        second: Those of the other, in the same order of samples.
        metric: Its full name, as `depth/rmse_pooled`.
        draws: How often groups are drawn again.
        seed: Of the draws.

    Returns:
        The difference; None where the metric is undefined.

    Raises:
        ValueError: The candidates were not measured on the same samples.
    """
    if any(list(one.ids) != list(first[0].ids) for one in (*first, *second)):
        raise ValueError("candidates were measured on different samples, or in another order")
    name = metric.removesuffix("_pooled").removesuffix("_per_image")
    resampling = shared_resampling(tuple(first[0].groups), draws, seed)
    which: Form = "pooled" if metric.endswith("_pooled") else "per_image"
    values = [resampling.over_seeds(seeds, name, which, draw=i) for i, seeds in enumerate((first, second))]
    found = values[1] - values[0]
    drawn = found[1:][np.isfinite(found[1:])]
    if not np.isfinite(found[0]) or not drawn.size:
        return None
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    better = first[0].meanings[name].higher_is_better
    return Difference(metric, float(values[0][0]), float(values[1][0]), float(low), float(high), better)
