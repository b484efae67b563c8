import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from dmx.weighting.mgda import frank_wolfe, mgda, of_two

TWO, THREE = ("mask", "depth"), ("a", "b", "c")
seeds = st.integers(0, 10_000)


def test_by_hand(weigh):
    """Orthogonal gradients of lengths 1 and 2: the foot of the height is at (4/5, 1/5)."""
    assert weigh(mgda(TWO), [[1, 0], [0, 2]]) == pytest.approx([4 / 5, 1 / 5])


def test_the_shorter_one_alone_where_it_is_the_nearest_point(weigh):
    assert weigh(mgda(TWO), [[1, 0], [2, 1]]).tolist() == [1, 0]
    assert weigh(mgda(TWO), [[5, 1], [1, 0]]).tolist() == [0, 1]


@given(seeds)
def test_is_the_least_norm_of_a_fine_search(vectors, weigh, seed):
    g = vectors(seed)
    x = np.linspace(0, 1, 2001)[:, None]
    best = np.linalg.norm(x * g[0] + (1 - x) * g[1], axis=1).min()
    assert np.linalg.norm(weigh(mgda(TWO), g) @ g) == pytest.approx(best, rel=1e-2)
    assert np.linalg.norm(weigh(mgda(TWO), g) @ g) <= best * (1 + 1e-12)


@given(seeds)
def test_no_task_objects(vectors, weigh, seed):
    """The optimality condition: <g_t, d> >= ||d||² for all t, with equality where α_t > 0."""
    g = vectors(seed)
    alpha = weigh(mgda(TWO), g)
    d = alpha @ g
    room = g @ d - d @ d
    assert (room >= -1e-12 * (g**2).sum()).all()
    assert np.abs(alpha * room).max() <= 1e-12 * (g**2).sum()


@given(seeds)
def test_frank_wolfe_gives_the_same_for_two(vectors, seed):
    g = torch.tensor(vectors(seed))
    start = torch.full((2,), 0.5, dtype=torch.float64)
    assert torch.allclose(frank_wolfe(g @ g.T, start), of_two(g @ g.T), atol=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_agrees_with_scipy_for_three(vectors, weigh, seed):
    g = vectors(seed, tasks=3)
    G = g @ g.T
    simplex = {"type": "eq", "fun": lambda a: a.sum() - 1}
    best = minimize(
        lambda a: a @ G @ a / G.min(), np.full(3, 1 / 3), bounds=[(0, 1)] * 3, constraints=simplex, method="SLSQP"
    )
    alpha = weigh(mgda(THREE), g)
    assert alpha.sum() == pytest.approx(1)
    assert alpha.min() >= 0
    assert alpha @ G @ alpha <= best.x @ G @ best.x + 0.01 * G.diagonal().min()


def test_a_gradient_of_zero_is_left_out(weigh):
    assert weigh(mgda(TWO), [[0, 0], [3, 4]]).tolist() == [0, 1]
    assert weigh(mgda(THREE), [[1, 0], [0, 0], [0, 1]]) == pytest.approx([1 / 2, 0, 1 / 2])


def test_equal_gradients_share(weigh):
    assert weigh(mgda(TWO), [[1, 2], [1, 2]]).tolist() == [0.5, 0.5]
