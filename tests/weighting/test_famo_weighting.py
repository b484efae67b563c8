import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dmx.weighting.famo import famo

TASKS = ("a", "b", "c")


def with_torchs_adam(steps, beta, gamma):
    """FAMO written anew: w from the derivative of its surrogate, ξ by torch's Adam on the slope of <softmax(ξ), δ>."""
    xi = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([xi], lr=beta, weight_decay=gamma)
    before, seen = None, []
    for L in steps:
        if before is not None:
            adam.zero_grad()
            (torch.softmax(xi, 0) * (before.log() - L.log())).sum().backward()
            adam.step()
        leaf = L.clone().requires_grad_()
        z = torch.softmax(xi, 0).detach()
        surrogate = (z * leaf.log()).sum() / (z / L).sum()
        surrogate.backward()
        seen.append(leaf.grad)
        before = L
    return seen


@settings(max_examples=20)
@given(st.integers(0, 1000), st.floats(0.01, 0.5), st.floats(0, 0.1))
def test_agrees_with_torchs_adam(seed, beta, gamma):
    steps = torch.rand(6, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.05
    weighting = famo(TASKS, beta=beta, gamma=gamma).double()
    for L, expected in zip(steps, with_torchs_adam(steps, beta, gamma), strict=True):
        weighting(dict(zip(TASKS, L, strict=True)))
        assert list(weighting.weights().values()) == pytest.approx(expected.tolist(), rel=1e-6)
    assert weighting.steps == 5


def test_by_hand():
    """First z = (1/2, 1/2): c = 1 / (1/4 + 1/8) and w = c z / L."""
    weighting = famo(("mask", "depth"))
    total = weighting({"mask": torch.tensor(2.0), "depth": torch.tensor(4.0)})
    assert weighting.weights() == pytest.approx({"mask": 2 / 3, "depth": 1 / 3})
    assert total.item() == pytest.approx(8 / 3)


def test_the_loss_that_lags_behind_gains_weight():
    weighting, shares = famo(("mask", "depth")), []
    for t in range(20):
        L = {"mask": 0.8**t, "depth": 0.99**t}
        weighting({task: torch.tensor(value) for task, value in L.items()})
        w = weighting.weights()
        shares.append(w["depth"] * L["depth"] / (w["mask"] * L["mask"]))
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(math.exp(2 * 19 * 0.025), rel=0.02)  # Adam's steps are β long, either way


def test_a_zero_between_two_steps_says_nothing():
    with_gap, without = famo(("mask", "depth"), beta=0.5, gamma=0.0), famo(("mask", "depth"), beta=0.5, gamma=0.0)
    for depth in (2.0, 0.0, 1.0):
        with_gap({"mask": torch.tensor(1.0), "depth": torch.tensor(depth)})
        if depth == 0:
            assert with_gap.weights() == {"mask": 1, "depth": 0}
        else:
            without({"mask": torch.tensor(1.0), "depth": torch.tensor(depth)})
    assert with_gap.weights() == pytest.approx(without.weights())


def test_two_known_losses_of_three_learn_as_two_alone():
    """The third is 0 throughout: it has no rate, and no say in the others'."""
    three, two = famo(TASKS).double(), famo(TASKS[:2]).double()
    for t in range(5):
        L = {"a": torch.tensor(0.9**t).double(), "b": torch.tensor(1.0 + t % 2).double()}
        two(L)
        three({**L, "c": torch.tensor(0.0).double()})
    both = two.weights()
    assert three.weights() == pytest.approx({**both, "c": 0}, rel=0.05)  # z of a and b add up to 2/3 at first
    assert (three.xi[1] - three.xi[0]).item() == pytest.approx((two.xi[1] - two.xi[0]).item(), rel=0.05)
    assert (two.xi[1] - two.xi[0]).abs() > 0.05


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_from_a_loss_without_a_logarithm_nothing_is_learned(bad):
    weighting = famo(("mask", "depth"))
    for depth in (2.0, 1.0):
        weighting({"mask": torch.tensor(1.0), "depth": torch.tensor(depth)})
    before = {name: value.clone() for name, value in weighting.state_dict().items() if name != "last"}
    assert not weighting({"mask": torch.tensor(1.0), "depth": torch.tensor(bad)}).isfinite()
    assert all(torch.equal(weighting.state_dict()[name], value) for name, value in before.items())
    assert weighting({"mask": torch.tensor(1.0), "depth": torch.tensor(1.0)}).isfinite()
