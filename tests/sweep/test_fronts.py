"""The geometry of fronts by hand, by brute force and by counting cells."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dmx.sweep.fronts import contributions, falling, hypervolume, knee, order, ranks, scaled

cells = st.integers(1, 3).flatmap(
    lambda m: st.integers(1, 8).flatmap(lambda n: arrays(float, (n, m), elements=st.integers(0, 5).map(float)))
)


def brute_ranks(F: np.ndarray) -> list[int]:
    """Peel the front off, point by point and coordinate by coordinate."""
    left, found, rank = set(range(len(F))), {}, 0
    while left:
        front = {
            i
            for i in left
            if not any(
                all(F[j][k] <= F[i][k] for k in range(F.shape[1])) and any(F[j][k] < F[i][k] for k in range(F.shape[1]))
                for j in left
            )
        }
        found |= dict.fromkeys(front, rank)
        left, rank = left - front, rank + 1
    return [found[i] for i in range(len(F))]


@given(cells)
def test_ranks_are_layers_of_fronts(F: np.ndarray) -> None:
    assert ranks(F).tolist() == brute_ranks(F)


@given(cells)
def test_hypervolume_counts_the_cells_that_some_point_dominates(F: np.ndarray) -> None:
    """On whole numbers the volume is the number of unit cells [c, c + 1) with a point at or below c."""
    reference = np.full(F.shape[1], 6.0)
    cells_below = itertools.product(range(6), repeat=F.shape[1])
    count = sum(any((point <= cell).all() for point in F) for cell in map(np.array, cells_below))
    assert hypervolume(F, reference) == pytest.approx(count)


@given(cells)
def test_a_contribution_is_what_is_lost_without_the_point(F: np.ndarray) -> None:
    reference = np.full(F.shape[1], 6.0)
    alone = contributions(F, reference)
    for i, share in enumerate(alone):
        rest = np.delete(F, i, 0)
        lost = hypervolume(F, reference) - (hypervolume(rest, reference) if len(rest) else 0)
        assert share == pytest.approx(lost)
    assert (alone >= -1e-12).all()


def test_order_by_hand() -> None:
    """The front of four; of it (1, 1) holds most alone; the dominated ones come last, by layers."""
    F = np.array([[5.0, 5.0], [0.0, 4.0], [1.0, 1.0], [4.0, 0.0], [2.0, 2.0]])
    assert order(F)[0] == 2
    assert set(order(F)[1:3]) == {1, 3}
    assert order(F)[3:] == [4, 0]


def test_knee_by_hand() -> None:
    """Scaled, the sums are 1, 0.5 and 1: the middle bends furthest; a point behind the front is never it."""
    F = np.array([[0.0, 10.0], [1.0, 2.5], [4.0, 0.0], [1.0, 2.6]])
    assert scaled(F[:3])[1].tolist() == [0.25, 0.25]
    assert knee(F) == 1


def test_directions_are_turned() -> None:
    assert falling([[1.0, 0.5], [2.0, 0.75]], ["minimize", "maximize"]).tolist() == [[1.0, -0.5], [2.0, -0.75]]
