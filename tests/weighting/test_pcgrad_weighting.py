import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmx.weighting.pcgrad import pcgrad

TWO, THREE = ("mask", "depth"), ("a", "b", "c")
seeds = st.integers(0, 10_000)


def surgery(g, orders):
    """The algorithm on the vectors themselves."""
    update = np.zeros(g.shape[1])
    for i, order in enumerate(orders):
        mine = g[i].copy()
        for j in order:
            if j != i and mine @ g[j] < 0:
                mine -= (mine @ g[j]) / (g[j] @ g[j]) * g[j]
        update += mine
    return update


def test_by_hand(weigh):
    """g = (1, 0), (-1, 1): each onto the other's normal plane gives (1/2, 1/2) and (0, 1)."""
    alpha = weigh(pcgrad(TWO), [[1, 0], [-1, 1]])
    assert alpha == pytest.approx([2, 3 / 2])
    assert alpha @ np.array([[1, 0], [-1, 1]]) == pytest.approx([1 / 2, 3 / 2])


def test_without_conflict_it_is_the_sum(weigh):
    assert weigh(pcgrad(TWO), [[1, 0], [0.5, 3]]).tolist() == [1, 1]


@given(seeds)
def test_agrees_with_surgery_on_vectors(vectors, weigh, seed):
    g = vectors(seed)
    assert weigh(pcgrad(TWO), g) @ g == pytest.approx(surgery(g, [[1], [0]]), abs=1e-9 * np.abs(g).max())


@given(seeds)
def test_agrees_with_surgery_in_the_drawn_order(vectors, weigh, seed):
    g = vectors(seed, tasks=3)
    torch.manual_seed(seed)
    orders = [torch.randperm(3).tolist() for _ in range(3)]
    torch.manual_seed(seed)
    assert weigh(pcgrad(THREE), g) @ g == pytest.approx(surgery(g, orders), abs=1e-8 * np.abs(g).max())


@given(seeds)
def test_neither_of_two_tasks_loses(vectors, weigh, seed):
    g = vectors(seed)
    d = weigh(pcgrad(TWO), g) @ g
    assert (g @ d >= -1e-9 * (g**2).sum()).all()


def test_opposite_gradients_leave_nothing(weigh):
    g = np.array([[2.0, 0], [-1, 0]])
    assert (weigh(pcgrad(TWO), g) @ g).tolist() == [0, 0]


def test_a_gradient_of_zero_has_no_say(weigh):
    assert weigh(pcgrad(TWO), [[0, 0], [3, 4]]).tolist() == [1, 1]
