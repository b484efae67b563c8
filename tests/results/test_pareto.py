"""The geometry of fronts by hand, by brute force and by counting cells."""

import itertools
import statistics
from operator import le

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dmx.results.pareto import behind, contributions, hypervolume, knee, order, ranks, scaled, to_minimize

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


def brute_order(F: np.ndarray) -> list[int]:
    """By rank; then by what the rank's own hypervolume, of its own range, loses without the point."""
    rank, key = brute_ranks(F), {}
    for i in range(len(F)):
        same = [j for j in range(len(F)) if rank[j] == rank[i]]
        low, high = F[same].min(0), F[same].max(0)
        S = (F - low) / np.where(high > low, high - low, 1)
        reference = np.full(F.shape[1], 1.1)
        others = [j for j in same if j < i or not np.array_equal(F[j], F[i])]  # of equal points the first counts
        with_it = hypervolume(S[[*others, i]], reference)
        key[i] = (rank[i], -round(with_it - (hypervolume(S[others], reference) if others else 0), 9), i)
    return sorted(range(len(F)), key=key.__getitem__)


distinct = st.integers(2, 3).flatmap(
    lambda m: st.integers(1, 8).flatmap(
        lambda n: arrays(float, (n, m), elements=st.integers(0, 9).map(float)).filter(
            lambda F: len(np.unique(F, axis=0)) == len(F)
        )
    )
)


@given(distinct)
def test_order_agrees_with_brute_force(F: np.ndarray) -> None:
    assert order(F * 3 - 7) == brute_order(F)


@given(distinct, st.lists(st.floats(1, 1e6), min_size=3, max_size=3))
def test_a_hopeless_point_reorders_nothing(F: np.ndarray, far: list[float]) -> None:
    hopeless = F.max(0) + np.array(far[: F.shape[1]])
    assert order(np.vstack([F, hopeless])) == [*order(F), len(F)]


def test_a_hopeless_point_by_hand() -> None:
    """Scaled by its own range, the front holds 0.02, 0.1, 0.15 and 0.025 alone.

    Scaled over all points, with 100 in the first objective, it would be flat there, and the last one hold most.
    """
    F = np.array([[0.0, 4.0], [1.0, 2.0], [2.0, 1.0], [5.0, 0.0]])
    far = np.array([[100.0, 5.0]])
    assert order(np.vstack([F, far])) == [*order(F), 4]
    assert order(F) == [2, 1, 3, 0]
    whole = scaled(np.vstack([F, far]))[:4]
    assert np.argmax(contributions(whole, np.full(2, 1.1))) == 3


@given(distinct, st.data())
def test_who_repeats_a_point_does_not_demote_it(F: np.ndarray, data: st.DataObject) -> None:
    twins = data.draw(st.lists(st.integers(0, len(F) - 1), min_size=1, max_size=3))
    with_twins = order(np.vstack([F, F[twins]]))
    assert [i for i in with_twins if i < len(F)] == order(F)
    for place, original in enumerate(twins, start=len(F)):
        assert with_twins.index(original) < with_twins.index(place)


@given(distinct, st.lists(st.sampled_from([0.25, 0.5, 2.0, 1024.0]), min_size=3, max_size=3), st.integers(-9, 9))
def test_units_and_offsets_decide_nothing(F: np.ndarray, unit: list[float], offset: int) -> None:
    moved = F * np.array(unit[: F.shape[1]]) + offset
    assert order(moved) == order(F)
    assert knee(moved) == knee(F)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@given(F=distinct)
def test_what_is_no_number_is_last(bad: float, F: np.ndarray) -> None:
    broken = np.vstack([[[bad] + [-1e9] * (F.shape[1] - 1)], F])
    assert order(broken) == [*(i + 1 for i in order(F)), 0]
    assert knee(broken) == knee(F) + 1
    assert ranks(broken)[0] == ranks(F).max() + 1
    assert order(broken[:1]) == [0]
    assert knee(broken[:1]) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_objective_has_its_order(bad: float) -> None:
    F = np.array([[3.0], [bad], [1.0], [3.0]])
    assert order(F) == [2, 0, 3, 1]
    assert knee(F) == 2


def test_knee_by_hand() -> None:
    """Gaps 0, 1, 4, 1 and 10, 2.5, 0, 2.6 in units of 1 and 2.6: squares of 14.8, 1.92, 16; and one is beaten."""
    F = np.array([[0.0, 10.0], [1.0, 2.5], [4.0, 0.0], [1.0, 2.6]])
    assert behind(F)[1].tolist() == pytest.approx([1, 2.5 / 2.6])
    assert knee(F) == 1


def test_the_knee_is_not_hopeless_in_anything() -> None:
    """As in a sweep: depth error and 1 - IoU, where the last but one is best in IoU and has 3.148 m."""
    F = np.array(
        [[0.84, 0.28], [0.80, 0.22], [0.78, 0.26], [0.90, 0.19], [1.10, 0.40], [0.95, 0.30], [3.148, 0.185], [2.0, 0.6]]
    )
    assert set(np.flatnonzero(ranks(F) == 0)) == {1, 2, 3, 6}
    assert knee(F) == 1
    assert knee(np.delete(F, 6, 0)) == 1
    # over the range of the front, 3.148 m would make all other errors alike, so that IoU alone decided
    front = F[[1, 2, 3, 6]]
    assert np.argmin(scaled(front).sum(1)) != 0


@pytest.mark.parametrize(
    ("points", "wanted"),
    [
        ([[60, 2], [2, 5], [1, 13], [700, 5], [13, 3]], 1),  # 4, were 50 units hopeless, or 2
        ([[2, 5], [60, 5], [8, 1], [13, 13]], 0),  # 2, likewise: 60 is 5.3 units behind
        ([[3.148, 0.185], [0.9, 0.2]], 1),  # each is the other's unit
        ([[3.148, 0.185], [0.84, 0.2], [0.84, 0.2]], 1),
        ([[1.0, -0.5], [3.0, -0.51]], 0),  # of what is maximised, too
    ],
)
def test_the_knee_by_hand(points: list[list[float]], wanted: int) -> None:
    assert knee(np.array(points, dtype=float)) == wanted


def test_the_ends_of_the_front_do_not_set_the_unit() -> None:
    """1.5 m is 4.2 typical distances behind: no outlier, but by the front's own range 0.9 m would be as good as 0.8."""
    F = np.array([[0.80, 0.22], [0.78, 0.26], [0.90, 0.19], [1.5, 0.12], [0.84, 0.28], [1.10, 0.40], [0.95, 0.30]])
    assert set(np.flatnonzero(ranks(F) == 0)) == {0, 1, 2, 3}
    assert knee(F) == 0
    assert np.argmin(scaled(F[:4]).sum(1)) == 2


def brute_knee(points: list[tuple[float, ...]]) -> int:
    """In loops: twice the units by the median of those behind, once with all and once without the hopeless."""
    left = list(range(len(points)))
    for turn in range(2):
        away = {}
        for i in left:
            away[i] = []
            for m in range(len(points[0])):
                best = min(points[j][m] for j in left)
                gaps = [points[j][m] - best for j in left if points[j][m] > best]
                away[i].append((points[i][m] - best) / (statistics.median(gaps) if gaps else 1))
        if turn == 0:
            left = [i for i in left if max(away[i]) <= 5] or left
    front = [i for i in left if not any(points[j] != points[i] and all(map(le, points[j], points[i])) for j in left)]

    def shares(i: int) -> float:
        best = [min(points[j][m] for j in left) for m in range(len(points[0]))]
        return round(sum(((x - b) / (b or 1)) ** 2 for x, b in zip(points[i], best, strict=True)), 9)

    return min(front, key=lambda i: (round(sum(gap**2 for gap in away[i]), 9), shares(i), i))


@given(
    st.integers(2, 3).flatmap(
        lambda m: st.integers(3, 9).flatmap(
            lambda n: arrays(float, (n, m), elements=st.sampled_from([0.0, 1, 2, 3, 5, 8, 13, 60, 700]))
        )
    )
)
def test_the_knee_agrees_with_loops(F: np.ndarray) -> None:
    assert knee(F) == brute_knee([tuple(point) for point in F.tolist()])


@pytest.mark.parametrize("far", [30.0, 1e3, 1e9])
def test_how_far_off_the_hopeless_are_does_not_matter(far: float) -> None:
    F = np.array([[0.0, 10.0], [1.0, 2.5], [4.0, 0.0], [1.5, 3.0], [2.0, 6.0], [3.0, 9.0]])
    assert knee(F) == 1
    assert knee(np.vstack([F, [-0.01, 10 * far], [far, -0.01]])) == 1


def test_where_the_front_bends_inwards_an_end_is_taken() -> None:
    assert knee(np.array([[0.0, 10.0], [9.9, 9.9], [10.0, 0.0]])) == 0


@given(cells)
def test_the_knee_is_on_the_front(F: np.ndarray) -> None:
    assert ranks(F)[knee(F)] == 0


def test_directions_are_turned() -> None:
    assert to_minimize([[1.0, 0.5], [2.0, 0.75]], ["minimize", "maximize"]).tolist() == [[1.0, -0.5], [2.0, -0.75]]
