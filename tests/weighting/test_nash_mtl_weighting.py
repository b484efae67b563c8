import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmx.weighting.nash_mtl import nash_mtl, newton

TWO, FOUR = ("mask", "depth"), ("a", "b", "c", "d")
seeds = st.integers(0, 10_000)


@given(seeds, st.sampled_from([2, 3, 4]))
def test_solves_its_equation(vectors, weigh, seed, tasks):
    """G α = 1/α with G divided by its norm; the more exactly, the further the gradients are from opposite."""
    g = vectors(seed, tasks, size=6)
    G = g @ g.T
    alpha = weigh(nash_mtl(FOUR[:tasks]), g)
    assert (alpha > 0).all()
    assert alpha * (G / np.linalg.norm(G) @ alpha) == pytest.approx(np.ones(tasks), abs=2e-4)


def test_by_hand(weigh):
    """Orthogonal gradients of lengths 1 and 2: the norm of G is √17, so α = 17^(1/4) (1, 1/2)."""
    assert weigh(nash_mtl(TWO), [[1, 0], [0, 2]]) == pytest.approx(17**0.25 * np.array([1, 1 / 2]), rel=1e-5)


@given(seeds)
def test_the_product_of_gains_is_greatest(vectors, weigh, seed):
    """No other direction of the same length makes Π <g_t, d> larger."""
    g = vectors(seed)
    d = weigh(nash_mtl(TWO), g) @ g
    others = np.random.default_rng(seed).normal(size=(300, 3))
    others = np.concatenate([others, d + 0.05 * np.linalg.norm(d) * others])
    gains = others / np.linalg.norm(others, axis=1, keepdims=True) * np.linalg.norm(d) @ g.T
    both = gains[(gains > 0).all(1)]
    assert (g @ d > 0).all()
    assert both.prod(1).max() <= (g @ d).prod() * (1 + 1e-5)


@given(seeds, st.floats(0.01, 100))
def test_a_longer_gradient_does_not_turn_the_update(vectors, weigh, seed, factor):
    g = vectors(seed)
    d, e = weigh(nash_mtl(TWO), g) @ g, weigh(nash_mtl(TWO), g * [[factor], [1]]) @ (g * [[factor], [1]])
    assert d / np.linalg.norm(d) == pytest.approx(e / np.linalg.norm(e), abs=1e-9)


@given(seeds)
def test_newton_gives_the_closed_form_for_two(vectors, seed):
    g = vectors(seed)
    rho = g[0] @ g[1] / np.linalg.norm(g[0]) / np.linalg.norm(g[1])
    R = torch.tensor([[1.0, rho], [rho, 1.0]], dtype=torch.float64)
    assert newton(R).tolist() == pytest.approx([(1 + rho) ** -0.5] * 2, rel=1e-9)


def test_opposite_gradients_have_no_agreement(weigh):
    g = np.array([[2.0, 0], [-1, 0]])
    assert np.abs(weigh(nash_mtl(TWO), g) @ g).max() <= 1e-9


def test_a_gradient_of_zero_is_left_out(weigh):
    assert weigh(nash_mtl(TWO), [[0, 0], [3, 4]]) == pytest.approx([0, 1], rel=1e-5)
    assert weigh(nash_mtl(FOUR), [[0, 0], [3, 4], [0, 0], [0, 0]]) == pytest.approx([0, 1, 0, 0], rel=1e-5)
