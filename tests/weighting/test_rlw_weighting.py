import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm

from dmx.weighting.rlw import rlw

ONES = {"mask": torch.tensor(1.0), "depth": torch.tensor(1.0)}


def draws(count):
    weighting, seen = rlw(("mask", "depth")), []
    for _ in range(count):
        assert weighting(ONES).item() == pytest.approx(1)  # they sum to 1
        seen.append(weighting.weights()["mask"])
    return np.array(seen)


def test_ratios_are_those_of_normal_numbers():
    """ln λ_a / λ_b is the difference of two normal numbers: of variance 2, whatever its seed, by Kolmogorov's test."""
    torch.manual_seed(3)
    seen = draws(1000)
    difference = np.log(seen / (1 - seen))
    assert kstest(difference, norm(scale=2**0.5).cdf).pvalue > 0.01
    assert kstest(difference, norm(scale=1.0).cdf).pvalue < 0.01
    assert len(set(seen)) == len(seen)  # new in every step
    assert abs(np.corrcoef(difference[1:], difference[:-1])[0, 1]) < 4 / 1000**0.5


def test_each_task_has_a_normal_number_of_its_own():
    """Of three tasks, ln λ_a / λ_c and ln λ_b / λ_c share one number of three: their correlation is 1/2."""
    torch.manual_seed(0)
    tasks, seen = ("a", "b", "c"), []
    weighting = rlw(tasks)
    for _ in range(2000):
        weighting({task: torch.tensor(1.0) for task in tasks})
        seen.append([weighting.weights()[task] for task in tasks])
    a, b, c = np.array(seen).T
    assert np.corrcoef(np.log(a / c), np.log(b / c))[0, 1] == pytest.approx(0.5, abs=4 * 0.75 / 2000**0.5)
    assert [a.mean(), b.mean(), c.mean()] == pytest.approx([1 / 3] * 3, abs=0.02)


def test_the_weights_that_are_shown_are_those_of_the_sum():
    torch.manual_seed(1)
    weighting = rlw(("mask", "depth"))
    total = weighting({"mask": torch.tensor(3.0), "depth": torch.tensor(50.0)})
    shown = weighting.weights()
    assert total.item() == pytest.approx(3 * shown["mask"] + 50 * shown["depth"])
