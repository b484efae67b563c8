import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from dmx.weighting.rlw import rlw

ONES = {"mask": torch.tensor(1.0), "depth": torch.tensor(1.0)}


def draws(count):
    weighting, seen = rlw(("mask", "depth")), []
    for _ in range(count):
        assert weighting(ONES).item() == pytest.approx(1)  # they sum to 1
        seen.append(weighting.weights()["mask"])
    return np.array(seen)


def test_is_a_softmax_of_normal_numbers():
    torch.manual_seed(3)
    z = torch.randn(2).tolist()
    torch.manual_seed(3)
    assert draws(1)[0] == pytest.approx(1 / (1 + np.exp(z[1] - z[0])), rel=1e-6)


def test_is_spread_as_it_should_be():
    """For two tasks λ = 1 / (1 + e^-δ) with δ normal of variance 2: mean 1/2, and the variance by quadrature."""
    torch.manual_seed(0)
    seen = draws(2000)
    variance = quad(lambda x: (1 / (1 + np.exp(-x)) - 0.5) ** 2 * norm.pdf(x, scale=2**0.5), -12, 12)[0]
    assert seen.mean() == pytest.approx(0.5, abs=4 * (variance / 2000) ** 0.5)
    assert seen.var() == pytest.approx(variance, rel=0.15)
