"""How often a 95 % interval holds the truth, by simulation: 93 to 97 %, from two seeds on."""

from dataclasses import replace

import numpy as np
import pytest
from compare.simulated import Regime, drawn
from scipy.special import ndtr, stdtrit
from scipy.stats import chi2, qmc

from dmx.compare.difference import added, difference, uncertainty
from dmx.sample_table import Meaning, SampleTable

REGIMES = {
    "seeds alone": Regime(seeds=(0.1, 0.1)),
    "seeds and samples": Regime(seeds=(0.1, 0.1), samples=0.5),
    "groups alone": Regime(groups=0.5),
    "groups, and networks' own ways with them": Regime(groups=0.5, own=0.3, samples=0.5),
    "all": Regime(seeds=(0.2, 0.2), groups=0.3, own=0.1, samples=0.5),
    "all, seeds above all": Regime(seeds=(0.5, 0.5), groups=0.3, own=0.1, samples=0.5),
    "the first one's seeds twice as wide": Regime(seeds=(0.4, 0.2), groups=0.3, own=0.1, samples=0.3),
    "the second one's seeds twice as wide": Regime(seeds=(0.2, 0.4), groups=0.3, own=0.1, samples=0.3),
}
FREEDOMS = np.array([1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0, 19.0, 59.0, 200.0])
COUNTS = ((2, 2), (3, 3), (5, 5), (10, 10), (2, 3), (2, 5), (3, 10), (2, 10))
MANY = [
    (metric, groups)
    for metric in ("mean", "rmse", "iou")
    for groups in (8, 20, 60)
    if (metric, groups) != ("iou", 8)  # areas so unequal that 8 groups are fewer: 95 to 97.3 %
]


def coverage(regime: Regime, counts: tuple[int, int], groups: int, metric: str = "mean", repeats: int = 4000) -> float:
    """Per cent of intervals that hold the truth, that there is no difference."""
    held = 0
    rng = np.random.default_rng(0)
    for _ in range(repeats // 2000):
        first, second = drawn(regime, counts, groups, metric, 2000, rng)
        error, freedom = uncertainty(first, second)
        found = second.whole.mean(-1) - first.whole.mean(-1)
        held += int((np.abs(found) <= stdtrit(freedom, 0.975) * error).sum())
    return 100 * held / repeats


@pytest.mark.parametrize("fa", FREEDOMS)
def test_of_a_sum_of_two_variances(fa: np.float64) -> None:
    """By quadrature: z = N(0, 1) against t_f √(share · χ²_fa / fa + (1 - share) · χ²_fb / fb), f as `added` has it."""
    u = qmc.Sobol(2, seed=0).random(2**14).T
    for fb in FREEDOMS:
        for odds in np.logspace(-1.2, 1.2, 13):  # of the two true variances
            share = odds / (1 + odds)
            a, b = share * chi2.ppf(u[0], fa) / fa, (1 - share) * chi2.ppf(u[1], fb) / fb
            half = stdtrit(added(a, fa, b, fb), 0.975) * np.sqrt(a + b)
            assert 93 <= 100 * (2 * ndtr(half) - 1).mean() <= 97, (fa, fb, odds)


@pytest.mark.parametrize("counts", COUNTS, ids=lambda counts: f"{counts[0]} and {counts[1]} seeds")
@pytest.mark.parametrize("regime", REGIMES.values(), ids=REGIMES)
def test_of_few_groups_of_unequal_sizes(regime: Regime, counts: tuple[int, int]) -> None:
    assert 93 <= coverage(regime, counts, groups=8) <= 97


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "groups"), MANY)
@pytest.mark.parametrize("counts", [(2, 2), (3, 3), (5, 5), (10, 10), (2, 5)], ids=str)
@pytest.mark.parametrize("regime", REGIMES.values(), ids=REGIMES)
def test_of_many_groups_and_pooled_metrics(regime: Regime, counts: tuple[int, int], metric: str, groups: int) -> None:
    if metric != "mean" and regime.seeds[0] != regime.seeds[1]:
        regime = replace(regime, seeds=(0.3, 0.3))  # of a curve the mean moves with the spread: a true difference
    assert 93 <= coverage(regime, counts, groups, metric, repeats=10_000) <= 97


@pytest.mark.parametrize("counts", [(2, 2), (3, 3), (5, 5), (2, 5)], ids=str)
def test_of_one_group_what_seeds_differ_by_is_held(counts: tuple[int, int]) -> None:
    assert 93 <= coverage(REGIMES["seeds alone"], counts, groups=1) <= 97


@pytest.mark.parametrize("groups", [8, 40])
@pytest.mark.parametrize("others", [1, 3])
def test_of_single_networks_what_is_held_is_how_they_differ(others: int, groups: int) -> None:
    """Whatever seeds would do: here the single one's has no part in its value."""
    seeds = 0.0 if others == 1 else 0.2
    regime = Regime(seeds=(0.0, seeds), groups=0.3, own=0.2 if others == 1 else 0.0, samples=0.3)
    assert 93 <= coverage(regime, (1, others), groups) <= 97


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_equals_are_seldom_called_different(seeds: int) -> None:
    """By the function as it is called, with 24 samples in 12 groups; 5 % are allowed, some of them by chance."""
    rng, called = np.random.default_rng(seeds), 0
    ids, groups = [str(i) for i in range(24)], [str(i // 2) for i in range(24)]
    meaning = {"depth/mae": Meaning("ratio", higher_is_better=False)}

    def candidate(hard: np.ndarray) -> list[SampleTable]:
        each = 5 + hard + rng.normal(0, 0.1, (seeds, 1)) + rng.normal(0, 0.2, (seeds, 24))
        return [SampleTable(ids, groups, {"depth/mae": np.stack([x, np.ones(24)], axis=1)}, meaning) for x in each]

    for _ in range(600):
        hard = rng.normal(0, 1, 24)
        found = difference(candidate(hard), candidate(hard), "depth/mae_pooled")
        assert found is not None
        called += found.clear
    assert 0.02 * 600 <= called <= 0.08 * 600
