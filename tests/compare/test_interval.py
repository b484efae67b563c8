"""The interval of one network's metric, against the textbook's."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from dmx.compare.interval import interval
from dmx.sample_table import Meaning, SampleTable


def table(values: np.ndarray, groups: list[str]) -> SampleTable:
    sums = np.stack([values, np.ones(len(values))], axis=1)
    ids = [str(number) for number in range(len(values))]
    return SampleTable(ids, groups, {"depth/mae": sums}, {"depth/mae": Meaning("ratio", higher_is_better=False)})


def test_of_a_mean_over_groups_of_one_size_it_is_students() -> None:
    values = np.random.default_rng(0).normal(2.0, 0.5, 24)
    means = values.reshape(8, 3).mean(1)
    expected = ttest_1samp(means, 0).confidence_interval(0.95)
    found = interval(table(values, [f"g{number // 3}" for number in range(24)]), "depth/mae_pooled")
    assert found == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_by_hand() -> None:
    """Two groups of 1 and 3: mean 2, deviation √2, error 1, and Student's quantile of one degree is 12.706."""
    assert interval(table(np.array([1.0, 3.0]), ["a", "b"]), "depth/mae_pooled") == pytest.approx(
        (2 - 12.7062047, 2 + 12.7062047)
    )


def test_one_group_or_no_value_gives_none() -> None:
    assert interval(table(np.array([1.0, 3.0]), ["a", "a"]), "depth/mae_pooled") is None
    nothing = table(np.array([1.0, 3.0]), ["a", "b"])
    nothing.sums["depth/mae"][:] = 0
    assert interval(nothing, "depth/mae_pooled") is None
