"""The paired bootstrap against closed forms and by its coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmx.compare.bootstrap import Resampling, difference
from dmx.sums import Meaning, Samples

MEANING = {"depth/mae": Meaning("ratio", higher_is_better=False)}


def made(values: np.ndarray, groups: list[str] | None = None) -> Samples:
    """Samples of one pixel each whose absolute errors are these."""
    ids = [str(i) for i in range(len(values))]
    return Samples(ids, groups or ids, {"depth/mae": np.stack([values, np.ones_like(values)], axis=1)}, MEANING)


def test_the_interval_has_the_width_of_the_closed_form() -> None:
    """For a mean over independent samples the standard error is s / sqrt(n)."""
    rng = np.random.default_rng(0)
    first = rng.normal(5, 3, 400)
    second = first + rng.normal(0.2, 1, 400)  # hard for both: pairing takes out the 3
    found = difference([made(first)], [made(second)], "depth/mae_pooled", draws=20_000)
    assert found is not None
    d = second - first
    expected = 1.96 * d.std(ddof=1) / 20
    assert found.value == pytest.approx(d.mean(), abs=1e-12)
    assert (found.high - found.low) / 2 == pytest.approx(expected, rel=0.03)
    assert (found.high + found.low) / 2 == pytest.approx(d.mean(), abs=0.1 * expected)


def test_samples_of_a_group_count_as_one() -> None:
    """Copies of each sample add nothing: the interval over groups stays as wide."""
    rng = np.random.default_rng(1)
    first, d = rng.normal(5, 1, 60), rng.normal(0, 1, 60)
    alone = difference([made(first)], [made(first + d)], "depth/mae_pooled")
    copies = [str(i) for i in range(60) for _ in range(10)]
    ten = [made(x.repeat(10), copies) for x in (first, first + d)]
    grouped = difference([ten[0]], [ten[1]], "depth/mae_pooled")
    assert alone is not None
    assert grouped is not None
    assert grouped.high - grouped.low == pytest.approx(alone.high - alone.low, rel=0.1)


def test_a_lead_that_one_seed_makes_is_noise() -> None:
    rng = np.random.default_rng(2)
    hard = rng.normal(5, 1, 200)
    first = [made(hard + offset) for offset in (0.0, 0.3, -0.3)]
    second = [made(hard + offset) for offset in (-0.9, 0.4, 0.1)]
    alone = difference(first[:1], second[:1], "depth/mae_pooled")
    together = difference(first, second, "depth/mae_pooled")
    assert alone is not None
    assert together is not None
    assert alone.clear
    assert together.value == pytest.approx(-0.4 / 3)
    assert not together.clear


@given(st.lists(st.floats(0, 10), min_size=2, max_size=30), st.floats(-5, 5).filter(lambda x: abs(x) > 1e-3))
def test_the_same_shift_everywhere_is_known_exactly(values: list[float], shift: float) -> None:
    first = np.array(values)
    for form in ("pooled", "per_image"):
        found = difference([made(first)], [made(first + shift)], f"depth/mae_{form}", draws=50)
        assert found is not None
        assert (found.low, found.high) == (pytest.approx(shift, abs=1e-9), pytest.approx(shift, abs=1e-9))
        assert found.clear


def test_an_undefined_sample_is_left_out_per_image_and_an_undefined_metric_is_none() -> None:
    sums = np.array([[1.0, 1.0], [0.0, 0.0], [3.0, 1.0]])
    samples = Samples(["a", "b", "c"], ["a", "b", "c"], {"depth/mae": sums}, MEANING)
    nothing = Samples(["a", "b", "c"], ["a", "b", "c"], {"depth/mae": np.zeros((3, 2))}, MEANING)
    assert Resampling(("a", "b", "c"), draws=1).values(samples, "depth/mae", "per_image")[0] == 2.0
    assert difference([samples], [nothing], "depth/mae_per_image") is None


def test_other_samples_are_refused() -> None:
    first = made(np.arange(3.0))
    with pytest.raises(ValueError, match="different samples"):
        difference([first], [Samples(["0", "2", "1"], first.groups, first.sums, MEANING)], "depth/mae_pooled")


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """1,000 repeats of 100 groups of 3 samples, whose differences are alike within a group."""
    rng, true, covered = np.random.default_rng(3), 0.1, 0
    groups = [str(i) for i in range(100) for _ in range(3)]
    for repeat in range(1000):
        hard = rng.normal(5, 2, 300)
        d = (true + rng.normal(0, 1, 100)).repeat(3) + rng.normal(0, 0.2, 300)
        found = difference([made(hard, groups)], [made(hard + d, groups)], "depth/mae_pooled", 500, seed=repeat)
        assert found is not None
        covered += found.low <= true <= found.high
    assert 930 <= covered <= 970
