import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmx.weighting.aligned_mtl import aligned_mtl, of_eigenvalues, of_two

TWO, FOUR = ("mask", "depth"), ("a", "b", "c", "d")
seeds = st.integers(0, 10_000)


@given(seeds, st.sampled_from([2, 3, 4]))
def test_agrees_with_svd_of_the_vectors(vectors, weigh, seed, tasks):
    g = vectors(seed, tasks, size=6).T  # a column for each task
    U, sigma, Vt = np.linalg.svd(g, full_matrices=False)
    d = sigma.min() * (U @ Vt).sum(1)
    assert g @ weigh(aligned_mtl(FOUR[:tasks]), g.T) == pytest.approx(d, abs=1e-6 * sigma.min())


@given(seeds, st.sampled_from([2, 3, 4]))
def test_aligned_gradients_have_condition_number_1(vectors, seed, tasks):
    g = vectors(seed, tasks, size=6).T
    G = torch.tensor(g.T @ g)
    B = of_two(G) if tasks == 2 else of_eigenvalues(G)
    assert np.linalg.cond(g @ B.numpy()) == pytest.approx(1, rel=1e-6)


@given(seeds)
def test_two_tasks_by_closed_form_and_by_eigenvalues(vectors, seed):
    g = torch.tensor(vectors(seed))
    assert torch.allclose(of_two(g @ g.T), of_eigenvalues(g @ g.T), atol=1e-7)


def test_by_hand(weigh):
    """Orthogonal gradients of lengths 1 and 2: both come to length 1."""
    assert weigh(aligned_mtl(TWO), [[1, 0], [0, 2]]) == pytest.approx([1, 1 / 2])


@pytest.mark.parametrize("tasks", [TWO, FOUR[:3]])
def test_parallel_gradients_are_added(weigh, tasks):
    """Of rank 1: only the common direction is left, and its length is kept."""
    lengths = range(1, len(tasks) + 1)
    d = weigh(aligned_mtl(tasks), np.outer(lengths, [3.0, 4.0])) @ np.outer(lengths, [3.0, 4.0])
    assert d == pytest.approx(sum(lengths) * np.array([3, 4]))


def test_opposite_gradients_of_equal_length_leave_nothing(weigh):
    g = np.array([[1.0, 0], [-1, 0]])
    assert (weigh(aligned_mtl(TWO), g) @ g).tolist() == [0, 0]


def test_a_gradient_of_zero_is_left_out(weigh):
    assert weigh(aligned_mtl(TWO), [[0, 0], [3, 4]]) == pytest.approx([0, 1])
    assert weigh(aligned_mtl(FOUR[:3]), [[0, 0], [3, 4], [0, 0]]) == pytest.approx([0, 1, 0])
