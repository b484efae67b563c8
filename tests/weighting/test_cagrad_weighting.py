import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar

from dmx.weighting.cagrad import cagrad, descend, dual, of_two, onto_simplex

TWO, THREE = ("mask", "depth"), ("a", "b", "c")
seeds = st.integers(0, 10_000)
radius = st.floats(0.05, 0.95)


def primal(g, c):
    """The best worst-served task: max s, <g_t, d> >= s, ||d - g_0|| <= c ||g_0||, over d and s themselves."""
    g = g / np.linalg.norm(g.mean(0))
    g0 = g.mean(0)
    limits = [
        {"type": "ineq", "fun": lambda x: g @ x[:-1] - x[-1]},
        {"type": "ineq", "fun": lambda x: c**2 * g0 @ g0 - ((x[:-1] - g0) ** 2).sum()},
    ]
    start = np.append(g0, (g @ g0).min())
    return minimize(
        lambda x: -x[-1], start, constraints=limits, method="SLSQP", options={"maxiter": 500, "ftol": 1e-12}
    )


@settings(max_examples=30)
@given(seeds, radius, st.sampled_from([2, 3]))
def test_agrees_with_scipy_on_the_vectors(vectors, weigh, seed, c, tasks):
    g = vectors(seed, tasks)
    found = primal(g, c)
    assume(found.success)
    d = weigh(cagrad(THREE[:tasks], c=c), g) @ g
    scale = np.linalg.norm(g.mean(0))
    assert (g @ d).min() / scale**2 == pytest.approx(-found.fun, rel=1e-4, abs=1e-4)


@given(seeds, radius)
def test_stays_within_the_ball_and_serves_the_worst_better(vectors, weigh, seed, c):
    g = vectors(seed)
    g0, d = g.mean(0), weigh(cagrad(TWO, c=c), g) @ g
    assert np.linalg.norm(d - g0) <= c * np.linalg.norm(g0) * (1 + 1e-9)
    assert (g @ d).min() >= (g @ g0).min() - 1e-9 * (g**2).sum()


@settings(max_examples=15)
@given(seeds, radius)
def test_two_tasks_are_solved_exactly(vectors, seed, c):
    g = torch.tensor(vectors(seed))
    G = g @ g.T
    k = c * g.mean(0).norm()
    w = of_two(G, k)
    best = minimize_scalar(
        lambda x: dual(torch.tensor([x, 1 - x], dtype=torch.float64), G, k).item(), bounds=(0, 1), method="bounded"
    )
    assert dual(w, G, k).item() <= best.fun + 1e-9 * G.max().item()
    assert dual(descend(G, k), G, k).item() == pytest.approx(dual(w, G, k).item(), abs=1e-6 * G.max().item())


def test_by_hand(weigh):
    """Orthogonal gradients of equal length: w = (1/2, 1/2), so d = (1 + c) g_0."""
    assert weigh(cagrad(TWO, c=0.5), [[1, 0], [0, 1]]) == pytest.approx([3 / 4, 3 / 4])


def test_without_room_it_is_the_mean(weigh):
    assert weigh(cagrad(TWO, c=0.0), [[1, 5], [-2, 1]]).tolist() == [0.5, 0.5]
    assert weigh(cagrad(THREE, c=0.0), [[1, 5], [-2, 1], [0, 1]]) == pytest.approx([1 / 3] * 3)


def test_a_gradient_of_zero_leaves_the_mean(weigh):
    assert weigh(cagrad(TWO), [[0, 0], [3, 4]]).tolist() == [0.5, 0.5]


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6), seeds)
def test_projection_onto_the_simplex(v, seed):
    """It is on the simplex, and no other point of it is nearer: <v - w, u - w> <= 0."""
    v = torch.tensor(v, dtype=torch.float64)
    w = onto_simplex(v)
    assert w.sum().item() == pytest.approx(1)
    assert (w >= 0).all()
    others = np.random.default_rng(seed).dirichlet(np.ones(len(v)), 50)
    assert ((others - w.numpy()) @ (v - w).numpy()).max() <= 1e-9
