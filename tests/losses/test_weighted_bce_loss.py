import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from dmx.losses.bce import bce
from dmx.losses.weighted_bce import weighted_bce


def test_by_hand(mask_scene):
    """p = 1/2 on the object costs 3 ln 2, p = 3/4 beside it costs ln 4."""
    loss = weighted_bce(*mask_scene([0.0, np.log(3)], [1, 0]), weight=3.0)
    assert loss.item() == pytest.approx(2.5 * np.log(2))


@given(st.integers(0, 1000), st.floats(0.1, 50))
def test_agrees_with_sklearn(mask_scene, masks, seed, weight):
    z, g, valid = masks(seed)
    weights = np.where(g[valid] == 1, weight, 1)
    expected = log_loss(g[valid], 1 / (1 + np.exp(-z[valid])), sample_weight=weights) * weights.mean()
    assert weighted_bce(*mask_scene(z, g, valid), weight=weight).item() == pytest.approx(expected, rel=1e-9)


@given(st.integers(0, 1000))
def test_with_weight_1_it_is_cross_entropy(mask_scene, masks, seed):
    scene = mask_scene(*masks(seed))
    assert weighted_bce(*scene, weight=1.0).item() == pytest.approx(bce(*scene).item(), rel=1e-12)


def test_stays_exact_where_the_probability_rounds_to_zero(mask_scene):
    assert weighted_bce(*mask_scene([-200.0], [1]), weight=2.0).item() == 400
