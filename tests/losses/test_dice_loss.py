import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmx.losses.dice import dice


def test_by_hand(mask_scene):
    """p = (1, 1/2), g = (1, 0): D = (2 + 1) / (1 + 1/4 + 1 + 1) = 12/13."""
    assert dice(*mask_scene([50.0, 0.0], [1, 0])).item() == pytest.approx(1 / 13)


@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_agrees_with_numpy(mask_scene, seed, smooth):
    rng = np.random.default_rng(seed)
    z, g, valid = rng.normal(0, 3, (3, 1, 4, 5)), rng.random((3, 1, 4, 5)) < 0.5, rng.random((3, 1, 4, 5)) < 0.7
    valid[:, 0, 0, 0] = True
    each = []
    for i in range(3):
        p, h = 1 / (1 + np.exp(-z[i][valid[i]])), g[i][valid[i]].astype(float)
        each.append(1 - (2 * p @ h + smooth) / (p @ p + h @ h + smooth))
    assert dice(*mask_scene(z, g, valid), smooth=smooth).item() == pytest.approx(np.mean(each), abs=1e-12)


def test_no_object_and_none_predicted_is_perfect(mask_scene):
    assert dice(*mask_scene([-80.0, -80.0], [0, 0])).item() == pytest.approx(0, abs=1e-12)


def test_a_sample_without_known_pixels_does_not_count(mask_scene):
    alone = dice(*mask_scene([[[[0.0, 1.0]]]], [[[[1, 0]]]]))
    beside = dice(*mask_scene([[[[0.0, 1.0]]], [[[9.0, 9.0]]]], [[[[1, 0]]], [[[0, 0]]]], [[[[1, 1]]], [[[0, 0]]]]))
    assert beside.item() == alone.item()
