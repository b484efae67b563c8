import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmx.weighting.gradnorm import gradnorm

TWO, THREE = ("mask", "depth"), ("a", "b", "c")


def by_autograd(steps, alpha, lr, tasks):
    """GradNorm written anew: the slope of its loss in ln w by autograd, weights scaled to sum to T."""
    v, first, seen = torch.zeros(tasks, dtype=torch.float64), None, []
    for g, L in steps:
        seen.append(v.exp().tolist())
        first = L if first is None else first
        v.requires_grad_()
        norms = torch.stack([(w * row).norm() for w, row in zip(v.exp(), g, strict=True)])
        mean = norms.mean().detach()
        r = (L / first) / (L / first).mean()
        ((norms - mean * r**alpha).abs().sum() / mean).backward()
        w = (v - lr * v.grad).detach().exp()
        v = (tasks * w / w.sum()).log()
    return seen


@given(st.integers(0, 10_000), st.floats(0, 3), st.floats(0.001, 0.3), st.sampled_from([2, 3]))
def test_agrees_with_autograd_of_its_loss(vectors, weigh, seed, alpha, lr, tasks):
    steps = [
        (torch.tensor(vectors(seed + t, tasks)), torch.tensor(vectors(seed + t, tasks)).norm(dim=1)) for t in range(5)
    ]
    weighting = gradnorm(THREE[:tasks], alpha=alpha, lr=lr).double()
    for (g, L), expected in zip(steps, by_autograd(steps, alpha, lr, tasks), strict=True):
        assert weigh(weighting, g, L) == pytest.approx(np.array(expected), rel=1e-9)


def test_by_hand(weigh):
    """Norms 1 and 3, both losses new: Ḡ = 2, so v falls by lr · (-1/2, 3/2), and the weights sum to 2."""
    weighting = gradnorm(TWO, lr=0.1)
    g = [[1, 0], [0, 3]]
    assert weigh(weighting, g).tolist() == [1, 1]
    w = np.exp([0.05, -0.15])
    assert weigh(weighting, g) == pytest.approx(2 * w / w.sum(), rel=1e-6)


def test_equal_norms_are_where_it_goes_with_alpha_0(weigh):
    weighting = gradnorm(TWO, alpha=0.0, lr=0.01)
    for _ in range(500):
        w = weigh(weighting, [[1, 0], [0, 5]])
    assert abs(math.log(w[0] / w[1] / 5)) <= 0.02  # to within a step, 2 lr


def test_the_task_that_lags_behind_gains_weight(weigh):
    weighting = gradnorm(TWO, alpha=1.0, lr=0.01)
    weigh(weighting, [[1, 0], [0, 1]], [1.0, 1.0])
    for _ in range(500):
        w = weigh(weighting, [[1, 0], [0, 1]], [0.2, 0.8])  # r = 2/5 and 8/5
    assert abs(math.log(w[1] / w[0] / 4)) <= 0.02  # to within a step, 2 lr


@pytest.mark.parametrize("unit", [0.001, 7.0, 1000.0])
def test_the_unit_of_a_loss_is_no_matter(weigh, unit):
    """After it has settled, a loss times f has its weight divided by f, up to the common scale: equal norms.

    It settles to within a step, which changes each logarithm by lr at most, and their difference by twice that.
    """
    lr = 0.02
    for f in (1.0, unit):
        weighting = gradnorm(TWO, alpha=0.0, lr=lr)
        for _ in range(400):
            w = weigh(weighting, [[1, 0], [0, f]], [1, f])
        assert abs(math.log(w[0] / (f * w[1]))) <= 2 * lr


def test_a_negative_loss_has_no_weight_and_teaches_nothing(weigh):
    weighting = gradnorm(TWO, lr=0.3)
    weigh(weighting, [[1, 0], [0, 3]], [1.0, 2.0])
    v = weighting.v.clone()
    assert np.isnan(weigh(weighting, [[1, 0], [0, 3]], [1.0, -2.0])).tolist() == [False, True]
    assert torch.equal(weighting.v, v)
    assert np.isfinite(weigh(weighting, [[1, 0], [0, 3]], [1.0, 2.0])).all()


def test_a_task_without_loss_or_gradient_teaches_nothing(weigh):
    weighting = gradnorm(TWO, lr=0.3)
    weigh(weighting, [[1, 0], [0, 0]], [1.0, 0.0])
    weigh(weighting, [[1, 0], [0, 2]], [1.0, 0.0])
    assert weighting.first.tolist() == [1, 0]
    assert weigh(weighting, [[1, 0], [0, 3]], [2.0, 4.0]).tolist() == pytest.approx([1, 1])
    assert weighting.first.tolist() == [1, 4]  # its first loss is the first there was
    assert math.log(weigh(weighting, [[1, 0], [0, 3]])[0]) != 0
