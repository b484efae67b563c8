"""What replays come to: regret with intervals, epochs to the target, ranks over tables, and which differences count."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import rankdata, spearmanr, wilcoxon

DRAWS = 2000
ALPHA = 0.05
"""The level of significance."""
Regrets = np.ndarray
"""Seeds x epochs."""


def alike(curves: np.ndarray) -> np.ndarray:
    """Spearman's correlation of the best values until each epoch with those at the end.

    Args:
        curves: Rows x epochs, less is better.
    """
    best = np.minimum.accumulate(curves, 1)
    return np.array([spearmanr(best[:, epoch], best[:, -1]).statistic for epoch in range(best.shape[1])])


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """The mean over seeds with its 95 % interval, by bootstrap."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(DRAWS, len(values)))].mean(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(values.mean()), float(low), float(high)


def epochs_to(regrets: Regrets, target: float) -> np.ndarray:
    """The epochs of each seed until the target; infinity where it does not come there."""
    there = regrets <= target
    return np.where(there.any(1), there.argmax(1) + 1.0, np.inf)


def average_ranks(tables: Sequence[Mapping[str, Regrets]], share: float) -> dict[str, float]:
    """The rank of each method by its mean regret after that share of the budget, averaged over tables; 1 is best."""
    names = list(tables[0])
    found = []
    for table in tables:
        at = max(1, round(share * next(iter(table.values())).shape[1])) - 1
        found.append(rankdata([table[name][:, at].mean() for name in names]))
    return dict(zip(names, np.mean(found, 0), strict=True))


def overall_ranks(tables: Sequence[Mapping[str, Regrets]]) -> dict[str, float]:
    """The rank of each method by its mean regret over the budget, averaged over tables and seeds; 1 is best."""
    names = list(tables[0])
    found = np.concatenate([rankdata([table[name].mean(1) for name in names], axis=0) for table in tables], axis=1)
    return dict(zip(names, found.mean(1), strict=True))


def differences(tables: Sequence[Mapping[str, Regrets]]) -> dict[tuple[str, str], tuple[float, float]]:
    """Each pair of methods: the mean difference of the mean regret over the budget, and its p.

    Wilcoxon's signed-rank test over all pairs of table and seed, corrected by Holm for the number of comparisons. Seeds
    of one table are not independent evidence on other tables: it is a statement on these tables.
    """
    names = list(tables[0])
    areas = {name: np.concatenate([table[name].mean(1) for table in tables]) for name in names}
    pairs = list(itertools.combinations(names, 2))
    raw = []
    for a, b in pairs:
        apart = areas[a] - areas[b]
        raw.append(float(wilcoxon(apart).pvalue) if apart.any() else 1.0)
    return {
        pair: (float((areas[pair[0]] - areas[pair[1]]).mean()), p) for pair, p in zip(pairs, holm(raw), strict=True)
    }


def holm(p: Sequence[float]) -> list[float]:
    """Holm's correction for several comparisons.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p)
    corrected = np.maximum.accumulate([(len(p) - place) * p[i] for place, i in enumerate(order)])
    found = np.empty(len(p))
    found[order] = np.minimum(corrected, 1)
    return [float(one) for one in found]
