"""The difference of two candidates on the same samples, with a 95 % confidence interval valid from two seeds on.

A difference has two sources of uncertainty: the choice of the groups of samples (samples of one scene are not
independent), and the seeds that the networks were trained with. With s² the variance of a candidate's values over its n
seeds, d_g the change of the difference if group g is left out, and w_g the group's share of the denominator,

    V_seeds  = Σ_candidates s² / n
    V_groups = max(0, Σ_g (1 - w_g) (d_g² - Σ_candidates I_g))
    difference ± t_f √(V_seeds + V_groups)

I_g = Σ_s (d_sg - d̄_g)² / (n (n - 1)), the interaction of seeds with group g, is already included in V_seeds. This is
an analysis of variance with seeds nested in candidates and crossed with groups, as for readers and cases in radiology
(Obuchowski and Rockette 1995; Hillis 2007), by the jackknife for any metric that is a function of sums. The factor
1 - w_g (Bell and McCaffrey 2002) corrects it for few groups of unequal sizes. f is computed by `added`.
tests/compare/test_coverage.py measures the coverage of these intervals: 93 to 97 % from two seeds on, in its regimes;
docs/compare.md lists the regimes with higher or lower coverage.

With one seed of a candidate, the variance over seeds is unknown. The interval is then about that network, not its
configuration, and the verdict says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64
from scipy.special import stdtr, stdtrit

from dmx.sample_table import FINISHES, FORMS, SampleTable, base, ratio

Verdict = Literal["better", "worse", "network better", "network worse", "unclear"]
LEVEL = 0.95
Numbers = Float64[np.ndarray, "..."] | np.float64


@dataclass(frozen=True)
class Difference:
    """The difference of two candidates' values of a metric: second minus first.

    Attributes:
        metric: The metric's full name.
        first: The first candidate's value, the mean over its seeds.
        second: The second candidate's value, likewise.
        error: The standard error of the difference; infinite if it is unknown.
        freedom: Its degrees of freedom.
        higher_is_better: Whether higher values are better.
        networks: Whether a candidate has only one seed, so that the result is about networks, not configurations.
        level: The confidence level of the interval; above 95 % if several comparisons are made at once.
    """

    metric: str
    first: float
    second: float
    error: float
    freedom: float
    higher_is_better: bool
    networks: bool
    level: float = LEVEL

    @property
    def value(self) -> float:
        """The difference."""
        return self.second - self.first

    @property
    def low(self) -> float:
        """The lower end of the confidence interval."""
        return self.value - self._half

    @property
    def high(self) -> float:
        """The upper end of the confidence interval."""
        return self.value + self._half

    @cached_property
    def _half(self) -> float:
        return quantile(self.freedom, self.level) * self.error

    @property
    def p(self) -> float:
        """The two-sided p-value: how often equal candidates would differ by at least as much."""
        if self.value == 0:
            return 1.0
        return float(2 * stdtr(self.freedom, -abs(self.value) / self.error)) if self.error else 0.0

    @property
    def clear(self) -> bool:
        """Whether 0 is outside of the interval."""
        return self.low > 0 or self.high < 0

    @property
    def verdict(self) -> Verdict:
        """The verdict on the second candidate by the interval; about networks only if a candidate has one seed."""
        if not self.clear:
            return "unclear"
        if (self.value > 0) == self.higher_is_better:
            return "network better" if self.networks else "better"
        return "network worse" if self.networks else "worse"


@dataclass(frozen=True)
class Seeds:
    """A metric for each seed of a candidate.

    Attributes:
        whole: Its value on all samples.
        change: The change of that value if a group is left out.
        share: The group's share of the denominator.
    """

    whole: Float64[np.ndarray, "*B seeds"]
    change: Float64[np.ndarray, "*B seeds groups"]
    share: Float64[np.ndarray, "*B seeds groups"]


def quantile(freedom: float, level: float = LEVEL) -> float:
    """The half-width of an interval in standard errors, by Student's t."""
    return float(stdtrit(freedom, (1 + level) / 2))


def difference(first: Sequence[SampleTable], second: Sequence[SampleTable], metric: str) -> Difference | None:
    """The difference of the second candidate's metric from the first one's.

    Args:
        first: The sample tables of the first candidate, one for each seed.
        second: Those of the second candidate, with samples in the same order.
        metric: The metric's full name, such as `depth/rmse_pooled`.

    Returns:
        The difference; None if the metric is undefined.

    Raises:
        ValueError: The candidates were not measured on the same samples.
    """
    if any(list(one.ids) != list(first[0].ids) for one in (*first, *second)):
        raise ValueError("candidates were measured on different samples, or in another order")
    one, other = (per_seed(seeds, metric) for seeds in (first, second))
    values = float(one.whole.mean()), float(other.whole.mean())
    if not np.isfinite(values).all():
        return None
    error, freedom = map(float, uncertainty(one, other))
    better = first[0].meanings[base(metric)].higher_is_better
    return Difference(metric, *values, error, freedom, better, min(len(first), len(second)) == 1)


def corrected(found: Sequence[Difference | None]) -> list[Difference | None]:
    """Correct the intervals of differences for multiple comparisons by Holm 1979.

    Of m differences, the one with the smallest p is tested at 5 % / m, the next at 5 % / (m - 1) and so on, until one
    is not clear; all others are tested at its level. So at most 5 % of such families have any wrong verdict, and an
    interval excludes 0 exactly if the verdict is not `unclear`.
    """
    known = sorted(((i, one) for i, one in enumerate(found) if one is not None), key=lambda pair: pair[1].p)
    made = list(found)
    left = len(known)
    for i, one in known:
        made[i] = tested = replace(one, level=1 - (1 - LEVEL) / left)
        left -= tested.clear
    return made


def explained(found: Sequence[Difference], groups: int, samples: int, seeds: int) -> str:
    """Explain what the intervals and verdicts of these differences mean.

    Args:
        found: The differences.
        groups: The number of groups.
        samples: The number of samples.
        seeds: The largest number of seeds of a candidate.

    >>> explained([], 30, 120, 1)
    'There is no difference to show: the metric is undefined.'
    """
    if not found:
        return "There is no difference to show: the metric is undefined."
    of = "one group, so that nothing follows about others" if groups == 1 else f"{groups} groups"
    over = "seeds and groups of samples" if seeds > 1 else "groups of samples"
    said = [f"Intervals: 95 %, by Student's t over {over} ({samples} samples in {of})"]
    if len(found) > 1:
        said[0] += f", wider as {len(found)} differences are looked at at once (Holm)"
    said.append("`unclear`: 0 is inside, so it may be chance")
    if any(one.networks for one in found):
        said.append(NETWORKS)
    return "; ".join(said) + "."


NETWORKS = (
    "`network better`, `network worse`: a single network of one seed does better or worse on such samples; of its "
    "configuration nothing follows, for that takes two seeds at least"
)


@lru_cache(maxsize=1)
def group_indices(groups: tuple[str, ...]) -> tuple[np.ndarray, int]:
    """The index of each sample's group, and the number of groups; cached, as it is called for each metric."""
    names, indices = np.unique(groups, return_inverse=True)
    return indices, len(names)


def per_seed(seeds: Sequence[SampleTable], metric: str) -> Seeds:
    """A metric of each seed, with all groups and without each."""
    name, pooled = base(metric), metric.endswith(FORMS[0])
    indices, count = group_indices(tuple(seeds[0].groups))
    sums = []
    for samples in seeds:
        each = samples.sums[name] if pooled else defined(samples.values(name))
        sums.append(np.zeros((count, each.shape[1])))
        np.add.at(sums[-1], indices, each)
    return left_out(np.stack(sums), FINISHES[seeds[0].meanings[name].finish] if pooled else ratio)


def left_out(sums: Float64[np.ndarray, "*B seeds groups K"], finish: Callable[[Any], Any]) -> Seeds:
    """The value from the sums of all groups, and its change without each group."""
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = np.asarray(finish(sums.sum(-2)))
        change = np.asarray(finish(without_each(sums))) - whole[..., None]
        return Seeds(whole, change, sums[..., -1] / sums[..., -1].sum(-1, keepdims=True))


def defined(values: Float64[np.ndarray, "N"]) -> Float64[np.ndarray, "N 2"]:
    """The sums of a mean over the samples in which a metric is defined."""
    known = ~np.isnan(values)
    return np.stack([np.where(known, values, 0), known.astype(np.float64)], axis=1)


def without_each(sums: Float64[np.ndarray, "*B groups K"]) -> Float64[np.ndarray, "*B groups K"]:
    """For each group, the sum over all others, without subtraction, which would turn 0 into rounding errors."""
    none = np.zeros_like(sums[..., :1, :])
    before = np.concatenate([none, sums[..., :-1, :].cumsum(-2)], axis=-2)
    behind = np.concatenate([none, sums[..., :0:-1, :].cumsum(-2)], axis=-2)[..., ::-1, :]
    return np.asarray(before + behind)


def uncertainty(first: Seeds, second: Seeds) -> tuple[Numbers, Numbers]:
    """The standard error of the difference of two candidates' means, and its degrees of freedom.

    With one group the variance over groups is unknown: then only seeds count, and without several seeds the error is
    infinite. It is also infinite if a metric is defined in a single group only for one seed but not for another.
    """
    share = np.concatenate([first.share, second.share], axis=-2).mean(-2)
    parts = [over_seeds(one, share) for one in (first, second)]
    of_groups, freedom = over_groups(second.change.mean(-2) - first.change.mean(-2), share)
    (one, f1, own1), (other, f2, own2) = parts
    of_groups = np.maximum(of_groups - own1 - own2, 0)
    alone = share.max(-1) == 1
    several = max(one.whole.shape[-1] for one in (first, second)) > 1
    of_groups = np.where(alone, 0.0 if several else np.inf, of_groups)
    together = added(one + other, added(one, f1, other, f2), of_groups, np.where(alone, 1.0, freedom))
    error = np.sqrt(np.nan_to_num(one + other + of_groups, nan=np.inf, posinf=np.inf))
    return error, np.where(np.isfinite(error), together, 1.0)


def over_seeds(seeds: Seeds, share: Float64[np.ndarray, "*B groups"]) -> tuple[Numbers, int, Numbers]:
    """A candidate's part of V_seeds, its degrees of freedom, and Σ (1 - w_g) I_g; 0 with one seed."""
    n = seeds.whole.shape[-1]
    if n == 1:
        nothing = np.zeros(seeds.whole.shape[:-1])
        return nothing, 1, nothing
    own = seeds.change - seeds.change.mean(-2, keepdims=True)
    with np.errstate(invalid="ignore"):
        of_groups = (np.asarray(1 - share)[..., None, :] * own**2).sum((-1, -2)) / (n * (n - 1))
    return seeds.whole.var(-1, ddof=1) / n, n - 1, of_groups


def over_groups(change: Numbers, share: Numbers) -> tuple[Numbers, Numbers]:
    """Σ (1 - w_g) d_g², and its degrees of freedom if the values of all groups have equal variance.

    With B = diag(w / √(1 - w)) (I - 1 wᵀ) it is |B x|² of the groups' values x, and f = tr(BBᵀ)² / tr((BBᵀ)²): the
    number of groups minus one for groups of equal size, fewer if some are much larger than others.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = ((1 - share) * change**2).sum(-1)
        a, S = share**2 / (1 - share), (share**2).sum(-1)
        A, A1, A2 = ((a * share**power).sum(-1) for power in range(3))
        trace = (1 + S) * A - 2 * A1
        squared = S**2 * A**2 + 2 * A * A2 - 4 * S * A * A1 + 2 * A1**2
        squared += (1 + 2 * S) * (a**2).sum(-1) - 4 * (a**2 * share).sum(-1)
        return variance, np.maximum(trace**2 / squared, 1)


def added(a: Numbers, fa: Numbers | int, b: Numbers, fb: Numbers | int) -> Numbers:
    """The degrees of freedom of a sum of two variances, each with its own.

    With w_i each one's share of the sum and q the ratio of their degrees of freedom, the lesser to the greater,

        f = 1 / Σ w_i³ / (f_i + k_i)  -  Σ w_i k_i
        k = -0.98 f_i^0.7 (1 - q^1.75) - 0.28 f_i^1.1 q^1.75  for the lesser,  -0.28 f_i^1.1 q³  for the greater

    and at most f_1 + f_2 + 1.

    Satterthwaite's equation has w² and k = 0, Welch 1947 has w² and k = 2. Neither holds for two seeds: with 2 seeds
    each and equal spread, Satterthwaite's intervals have a coverage of 97.7 % instead of 95 %; with 2 seeds against 5
    of half the spread, 90 %. The constants here were chosen by computing the coverage for 1 to 200 degrees of
    freedom and variance ratios from 1/16 to 16: it is 93 to 96.9 % there.
    """
    few, many = np.minimum(fa, fb), np.maximum(fa, fb)
    q = few / many
    of_few = -0.98 * few**0.7 * (1 - q**1.75) - 0.28 * few**1.1 * q**1.75
    of_many = -0.28 * many**1.1 * q**3
    ka, kb = np.where(fa <= fb, of_few, of_many), np.where(fb <= fa, of_few, of_many)
    with np.errstate(divide="ignore", invalid="ignore"):
        wa, wb = a / (a + b), b / (a + b)
        found = 1 / (wa**3 / (fa + ka) + wb**3 / (fb + kb)) - wa * ka - wb * kb
    return np.where(a + b > 0, np.clip(found, 1, fa + fb + 1), few)
