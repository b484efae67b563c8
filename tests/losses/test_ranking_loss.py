import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_expit

from dmx.losses.ranking import ranking
from dmx.losses.sampling import known_tuples


def test_by_hand(depth_scene):
    """One pair: in order by 1, out of order by 1, and equal in truth but 3 apart."""
    assert ranking(*depth_scene([2.0, 1.0], [5.0, 4.0])).item() == pytest.approx(np.log(1 + np.exp(-1)))
    assert ranking(*depth_scene([2.0, 1.0], [4.0, 5.0])).item() == pytest.approx(np.log(1 + np.e))
    assert ranking(*depth_scene([4.0, 1.0], [5.0, 5.1]), tolerance=0.03).item() == 9


@given(st.integers(0, 1000), st.floats(0, 0.5))
def test_agrees_with_loops_over_the_same_pairs(depth_scene, arrays, seed, tolerance):
    y, t, valid = arrays(seed)
    pairs, used = known_tuples(torch.tensor(valid), 2)
    costs = []
    for b, k in np.argwhere(used.numpy()):
        nearer, farther = sorted(pairs[b, k].tolist(), key=lambda i: t[b].flat[i])
        ahead = y[b].flat[farther] - y[b].flat[nearer]
        equal = t[b].flat[farther] <= t[b].flat[nearer] * (1 + tolerance)
        costs.append(ahead**2 if equal else -log_expit(ahead))
    assert ranking(*depth_scene(y, t, valid), tolerance=tolerance).item() == pytest.approx(np.mean(costs), abs=1e-10)


@given(st.integers(0, 200))
def test_only_the_order_of_the_truth_matters(depth_scene, arrays, seed):
    y, t, valid = arrays(seed)
    one, other = ranking(*depth_scene(y, t, valid), tolerance=0.0), ranking(*depth_scene(y, t**3, valid), tolerance=0.0)
    assert other.item() == one.item()


@given(st.integers(0, 500), st.integers(2, 3), st.floats(0, 1))
def test_tuples_are_of_different_known_pixels_and_leave_none_out(seed, size, share):
    valid = torch.tensor(np.random.default_rng(seed).random((3, 1, 5, 6)) < share)
    places, used = known_tuples(valid, size)
    for b in range(3):
        known = valid[b].flatten().nonzero().flatten().tolist()
        tuples = places[b][used[b]].tolist()
        assert len(tuples) == max(len(known) - size + 1, 0)
        assert all(len(set(one)) == size for one in tuples)
        assert {i for one in tuples for i in one} == (set(known) if len(known) >= size else set())


def test_neighbours_are_no_likelier_to_meet_than_others():
    """Of pairs at random in a row of 400, a share of about 1/2 is more than 117 pixels apart: (1 - 117/400)² = 0.5."""
    places, _ = known_tuples(torch.ones(1, 1, 1, 400, dtype=torch.bool), 2)
    far = (places[0, :, 0] - places[0, :, 1]).abs() > 117
    assert far.double().mean().item() == pytest.approx(0.5, abs=0.08)
