import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from dmx.losses.bce import bce


def test_by_hand(mask_scene):
    """p = 1/2 on the object costs ln 2, p = 3/4 beside it costs ln 4."""
    loss = bce(*mask_scene([0.0, np.log(3)], [1, 0]))
    assert loss.item() == pytest.approx(1.5 * np.log(2))


@given(st.integers(0, 1000))
def test_agrees_with_sklearn(mask_scene, seed):
    rng = np.random.default_rng(seed)
    z, g, valid = rng.normal(0, 3, (2, 1, 4, 5)), rng.random((2, 1, 4, 5)) < 0.5, rng.random((2, 1, 4, 5)) < 0.7
    valid[0, 0, 0, :2], g[0, 0, 0, :2] = True, (True, False)
    expected = log_loss(g[valid], 1 / (1 + np.exp(-z[valid])))
    assert bce(*mask_scene(z, g, valid)).item() == pytest.approx(expected, abs=1e-9)


def test_stays_exact_where_the_probability_rounds_to_one(mask_scene):
    assert bce(*mask_scene([200.0], [0])).item() == 200
