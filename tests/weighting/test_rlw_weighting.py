import numpy as np
import pytest
import torch
from scipy.integrate import quad
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


def test_is_spread_as_it_should_be():
    """For two tasks λ = 1 / (1 + e^-δ) with δ normal of variance 2: mean 1/2, and the variance by quadrature."""
    torch.manual_seed(0)
    seen = draws(2000)
    variance = quad(lambda x: (1 / (1 + np.exp(-x)) - 0.5) ** 2 * norm.pdf(x, scale=2**0.5), -12, 12)[0]
    assert seen.mean() == pytest.approx(0.5, abs=4 * (variance / 2000) ** 0.5)
    assert seen.var() == pytest.approx(variance, rel=4 * 2000**-0.5)
