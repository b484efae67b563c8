import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmx.weighting.famo import famo

TASKS = ("a", "b", "c")


def by_autograd(steps, beta, gamma):
    """FAMO written anew: w and the logits' slope from the derivatives of their definitions."""
    xi, before, seen = torch.zeros(3, dtype=torch.float64), None, []
    for L in steps:
        if before is not None:
            xi.requires_grad_()
            delta = before.log() - L.log()
            (slope,) = torch.autograd.grad((torch.softmax(xi, 0) * delta).sum(), xi)
            xi = (xi - beta * (slope + gamma * xi)).detach()
        leaf = L.clone().requires_grad_()
        z = torch.softmax(xi, 0)
        surrogate = (z * leaf.log()).sum() / (z / L).sum()
        surrogate.backward()
        seen.append(leaf.grad)
        before = L
    return seen


@given(st.integers(0, 1000), st.floats(0.01, 2), st.floats(0, 0.1))
def test_agrees_with_autograd(seed, beta, gamma):
    steps = torch.rand(6, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.05
    weighting = famo(TASKS, beta=beta, gamma=gamma).double()
    for L, expected in zip(steps, by_autograd(steps, beta, gamma), strict=True):
        weighting(dict(zip(TASKS, L, strict=True)))
        assert list(weighting.weights().values()) == pytest.approx(expected.tolist(), rel=1e-9)


def test_by_hand():
    """First z = (1/2, 1/2): c = 1 / (1/4 + 1/8) and w = c z / L."""
    weighting = famo(("mask", "depth"))
    total = weighting({"mask": torch.tensor(2.0), "depth": torch.tensor(4.0)})
    assert weighting.weights() == pytest.approx({"mask": 2 / 3, "depth": 1 / 3})
    assert total.item() == pytest.approx(8 / 3)


def test_the_loss_that_lags_behind_gains_weight():
    weighting, shares = famo(("mask", "depth"), beta=0.5), []
    for t in range(20):
        L = {"mask": 0.8**t, "depth": 0.99**t}
        weighting({task: torch.tensor(value) for task, value in L.items()})
        w = weighting.weights()
        shares.append(w["depth"] * L["depth"] / (w["mask"] * L["mask"]))
    assert shares == sorted(shares)
    assert shares[-1] > 2


def test_a_zero_between_two_steps_says_nothing():
    with_gap, without = famo(("mask", "depth"), beta=0.5, gamma=0.0), famo(("mask", "depth"), beta=0.5, gamma=0.0)
    for depth in (2.0, 0.0, 1.0):
        with_gap({"mask": torch.tensor(1.0), "depth": torch.tensor(depth)})
        if depth == 0:
            assert with_gap.weights() == {"mask": 1, "depth": 0}
        else:
            without({"mask": torch.tensor(1.0), "depth": torch.tensor(depth)})
    assert with_gap.weights() == pytest.approx(without.weights())
