"""Differences and their intervals against closed forms and numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dmx.compare.difference import (
    Difference,
    added,
    corrected,
    difference,
    explained,
    left_out,
    over_groups,
    without_each,
)
from dmx.sample_table import Meaning, SampleTable, ratio

MEANING = {"depth/mae": Meaning("ratio", higher_is_better=False)}


def made(values: np.ndarray, groups: list[str] | None = None) -> SampleTable:
    """Samples of one pixel each whose absolute errors are these."""
    ids = [str(i) for i in range(len(values))]
    return SampleTable(ids, groups or ids, {"depth/mae": np.stack([values, np.ones_like(values)], axis=1)}, MEANING)


def found(first: list[SampleTable], second: list[SampleTable], metric: str = "depth/mae_pooled") -> Difference:
    one = difference(first, second, metric)
    assert one is not None
    return one


def of(value: float, p: float, freedom: float = 10, networks: bool = False) -> Difference:
    """A difference with this two-sided p."""
    error = abs(value) / float(stats.t.isf(p / 2, freedom))
    return Difference("m", 0.0, value, error, freedom, higher_is_better=True, networks=networks)


def test_of_two_networks_it_is_the_paired_t_interval() -> None:
    """For a mean over independent samples scipy's paired t test has the same interval and the same p."""
    rng = np.random.default_rng(0)
    first = rng.normal(5, 3, 40)
    second = first + rng.normal(0.4, 1, 40)  # hard for both: pairing takes out the 3
    one = found([made(first)], [made(second)])
    theirs = stats.ttest_rel(second, first)
    low, high = theirs.confidence_interval(0.95)
    assert (one.value, one.freedom) == (pytest.approx((second - first).mean()), pytest.approx(39))
    assert (one.low, one.high, one.p) == (pytest.approx(low), pytest.approx(high), pytest.approx(theirs.pvalue))


@pytest.mark.parametrize("counts", [(3, 3), (4, 4), (6, 6)])
def test_where_seeds_alone_differ_it_is_welch_s_interval_but_for_the_freedom(counts: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    hard = rng.normal(5, 1, 50)
    values = [rng.normal(0, 0.3, count) for count in counts]
    one = found(*([made(hard + offset) for offset in each] for each in values))
    theirs = stats.ttest_ind(values[1], values[0], equal_var=False)
    assert one.value / one.error == pytest.approx(theirs.statistic)
    a, b = (each.var(ddof=1) / len(each) for each in values)
    n = counts[0] - 1
    k = -0.28 * n**1.1  # of `added`, for equal counts
    assert one.freedom == pytest.approx(min((a + b) ** 3 * (n + k) / (a**3 + b**3) - k, 2 * n + 1))


def test_the_variance_is_put_together_as_worked_out_by_hand() -> None:
    """2 seeds each, 2 groups of one sample: first 1 3 and 1 1, second 2 8 and 4 2.

    Values 2, 1 | 5, 3: s²/n = 0.25 and 1. Changes of leaving out a group: ±1, 0 | ±3, ∓1: their means ±0.5 and ±1, the
    difference ±0.5, its square 0.25 twice, times 1 - 1/2: 0.25. Own ways: (0.5² + 0.5²) · 2 / 2 / 2 = 0.25 for the
    first; (2² + 2²) · 2 / 2 / 2 = 4 for the second: more than 0.25, so nothing is left for groups.
    """
    first = [made(np.array([1.0, 3.0])), made(np.array([1.0, 1.0]))]
    second = [made(np.array([2.0, 8.0])), made(np.array([4.0, 2.0]))]
    one = found(first, second)
    assert (one.first, one.second) == (1.5, 4.0)
    assert one.error == pytest.approx(np.sqrt(1.25))


def test_what_all_seeds_make_of_groups_is_added() -> None:
    """Every seed of the second is 0, 2 off: s²/n is 0, and groups have the paired t test's variance, 2 / 2."""
    first = [made(np.array([5.0, 7.0])), made(np.array([5.0, 7.0]))]
    second = [made(np.array([5.0, 9.0])), made(np.array([5.0, 9.0]))]
    one = found(first, second)
    assert (one.value, one.error, one.freedom) == (1.0, pytest.approx(1.0), pytest.approx(1.0))


def test_samples_of_a_group_count_as_one() -> None:
    """Copies of each sample add nothing: the interval over groups stays the same."""
    rng = np.random.default_rng(1)
    first, d = rng.normal(5, 1, 60), rng.normal(0, 1, 60)
    copies = [str(i) for i in range(60) for _ in range(10)]
    ten = [made(x.repeat(10), copies) for x in (first, first + d)]
    alone, grouped = found([made(first)], [made(first + d)]), found([ten[0]], [ten[1]])
    assert (grouped.low, grouped.high) == (pytest.approx(alone.low), pytest.approx(alone.high))


def test_a_large_group_takes_degrees_of_freedom() -> None:
    assert over_groups(np.ones(12), np.full(12, 1 / 12))[1] == pytest.approx(11)
    share = np.array([0.5, *[0.5 / 11] * 11])
    B = np.diag(share / np.sqrt(1 - share)) @ (np.eye(12) - np.outer(np.ones(12), share))
    square = B @ B.T
    assert over_groups(np.ones(12), share)[1] == pytest.approx(np.trace(square) ** 2 / np.trace(square @ square))
    assert over_groups(np.ones(12), share)[1] < 3


@given(st.floats(0, 1), st.integers(1, 40), st.integers(1, 40))
def test_the_freedom_of_a_sum_is_between_that_of_its_least_part_and_nearly_that_of_all(
    part: float, fa: int, fb: int
) -> None:
    freedom = float(added(np.array(part), fa, np.array(1 - part), fb))
    assert min(fa, fb) - 1e-9 <= freedom <= fa + fb + 1 + 1e-9
    assert float(added(np.array(1.0), fa, np.array(0.0), fb)) == pytest.approx(fa)


def test_a_lead_that_one_seed_makes_is_unclear() -> None:
    rng = np.random.default_rng(2)
    hard = rng.normal(5, 1, 200)
    first = [made(hard + offset) for offset in (0.0, 0.3, -0.3)]
    second = [made(hard + offset) for offset in (-0.9, 0.4, 0.1)]
    alone, together = found(first[:1], second[:1]), found(first, second)
    assert alone.verdict == "network better"
    assert together.value == pytest.approx(-0.4 / 3)
    assert together.verdict == "unclear"
    one_against_several = found(second[:1], first)
    assert one_against_several.networks
    assert one_against_several.verdict in ("network worse", "unclear")


def test_a_lead_that_every_seed_has_is_of_the_configuration() -> None:
    hard = np.random.default_rng(2).normal(5, 1, 200)
    first = [made(hard + offset) for offset in (0.0, 0.01, -0.01)]
    second = [made(hard + offset) for offset in (-0.9, -0.91, -0.92)]
    assert found(first, second).verdict == "better"
    assert found(second, first).verdict == "worse"


@given(st.lists(st.floats(0, 10), min_size=2, max_size=30), st.floats(-5, 5).filter(lambda x: abs(x) > 1e-3))
def test_the_same_shift_everywhere_is_known_exactly(values: list[float], shift: float) -> None:
    first = np.array(values)
    for form in ("pooled", "per_image"):
        one = found([made(first)], [made(first + shift)], f"depth/mae_{form}")
        assert (one.low, one.high) == (pytest.approx(shift, abs=1e-9), pytest.approx(shift, abs=1e-9))
        assert one.clear


def test_a_network_against_itself_is_unclear() -> None:
    same = made(np.arange(5.0))
    assert (found([same], [same]).verdict, found([same], [same]).p) == ("unclear", 1.0)


def test_of_one_group_seeds_alone_tell_and_two_networks_nothing() -> None:
    values = [made(np.arange(4.0) + offset, ["a"] * 4) for offset in (0.0, 0.1, 5.0, 5.1)]
    one = found(values[:2], values[2:])
    assert one.error == pytest.approx(np.sqrt(0.005 / 2 * 2))
    assert one.verdict == "worse"
    alone = found(values[:1], values[2:3])
    assert (alone.low, alone.high, alone.p, alone.verdict) == (-np.inf, np.inf, 1.0, "unclear")
    assert "4 samples in one group, so that nothing follows about others" in explained([one], 1, 4, 2)


def test_an_undefined_sample_is_left_out_per_image_and_an_undefined_metric_is_none() -> None:
    sums = np.array([[1.0, 1.0], [0.0, 0.0], [3.0, 1.0], [5.0, 1.0]])
    ids = ["a", "b", "c", "d"]
    samples = SampleTable(ids, ids, {"depth/mae": sums}, MEANING)
    nothing = SampleTable(ids, ids, {"depth/mae": np.zeros((4, 2))}, MEANING)
    more = SampleTable(ids, ids, {"depth/mae": sums + np.array([[1.0, 0], [0, 0], [2, 0], [3, 0]])}, MEANING)
    assert difference([samples], [nothing], "depth/mae_per_image") is None
    one = found([samples], [more], "depth/mae_per_image")
    assert one.value == 2.0
    assert one.freedom == pytest.approx(2)  # three groups in which it is defined
    assert one.error == pytest.approx(np.std([1, 2, 3], ddof=1) / np.sqrt(3))


def test_where_one_network_is_defined_in_one_group_only_nothing_is_known() -> None:
    ids = ["a", "b", "c"]
    first, second = np.array([[1.0, 1], [2, 1], [3, 1]]), np.array([[1.0, 1], [0, 0], [0, 0]])
    one, other = (SampleTable(ids, ids, {"depth/mae": sums}, MEANING) for sums in (first, second))
    assert found([one], [other]).error == np.inf
    assert found([one, one], [other, other]).verdict == "unclear"


def test_leaving_out_leaves_exactly_nothing_where_nothing_is_left() -> None:
    sums = np.array([[0.1, 1.0], [0.0, 0.0], [0.0, 0.0]])
    assert without_each(sums).tolist() == [[0, 0], [0.1, 1], [0.1, 1]]
    assert np.isnan(left_out(sums[None], ratio).change[0, 0])


def test_other_samples_are_refused() -> None:
    first = made(np.arange(3.0))
    with pytest.raises(ValueError, match="different samples"):
        difference([first], [SampleTable(["0", "2", "1"], first.groups, first.sums, MEANING)], "depth/mae_pooled")


def test_holm_by_hand() -> None:
    """Of p = 0.011, 0.02, 0.03, 0.2 the least is below 0.05 / 4, the next not below 0.05 / 3: one is clear of three."""
    many = corrected([of(1, 0.03), of(1, 0.011), None, of(-1, 0.02), of(1, 0.2)])
    assert [one and one.verdict for one in many] == ["unclear", "better", None, "unclear", "unclear"]
    levels = [one and round(1 - one.level, 6) for one in many]
    assert levels == [round(0.05 / 3, 6), round(0.05 / 4, 6), None, round(0.05 / 3, 6), round(0.05 / 3, 6)]
    assert [one.verdict for one in (of(1, 0.03), of(-1, 0.02)) if one] == ["better", "worse"]  # alone


@given(st.lists(st.floats(1e-6, 0.999), min_size=1, max_size=12))
def test_holm_decides_as_its_adjusted_p_say(ps: list[float]) -> None:
    many = corrected([of(1, p, freedom=5 + i) for i, p in enumerate(ps)])
    order = np.argsort(ps, kind="stable")
    adjusted = np.maximum.accumulate([(len(ps) - place) * ps[i] for place, i in enumerate(order)])
    for i, p in zip(order, adjusted, strict=True):
        one = many[i]
        assert one is not None
        if abs(p - 0.05) > 1e-6:
            assert one.clear == (p < 0.05)
            assert one.clear == (one.low > 0)


def test_what_is_said_of_intervals() -> None:
    assert explained([of(1, 0.5)], 8, 24, 3) == (
        "Intervals: 95 %, by Student's t over seeds and groups of samples (24 samples in 8 groups); `unclear`: 0 is "
        "inside, so it may be chance."
    )
    many = explained([of(1, 0.5, networks=True)] * 3, 8, 24, 1)
    assert "over groups of samples (24" in many
    assert "wider as 3 differences are looked at at once (Holm)" in many
    assert "`network better`, `network worse`: a single network of one seed" in many
    assert "of its configuration nothing follows" in many
