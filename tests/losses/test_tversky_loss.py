import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from segmentation_models_pytorch.losses import TverskyLoss

from dmx.losses.jaccard import jaccard
from dmx.losses.tversky import SMOOTH, tversky


def test_by_hand(mask_scene):
    """p = 1/2 everywhere: 1/2 right, 1/2 false at 0.3, 1/2 missed at 0.7: 1 - (1/2 + 1) / (1/2 + 1/2 + 1)."""
    assert tversky(*mask_scene([0.0, 0.0], [1, 0]), alpha=0.3, beta=0.7).item() == pytest.approx(0.25)


@given(st.integers(0, 1000), st.floats(0.1, 2), st.floats(0.1, 2))
def test_agrees_with_segmentation_models_for_each_sample(mask_scene, masks, seed, alpha, beta):
    z, g, valid = masks(seed)
    theirs = TverskyLoss(mode="binary", smooth=SMOOTH, alpha=alpha, beta=beta)
    each = [theirs(*(torch.tensor(x[i][valid[i]])[None, None, None] for x in (z, g))) for i in range(2)]
    loss = tversky(*mask_scene(z, g, valid), alpha=alpha, beta=beta)
    assert loss.item() == pytest.approx(np.mean(each), abs=1e-6)


@given(st.integers(0, 1000))
def test_with_both_weights_1_it_is_jaccard(mask_scene, masks, seed):
    scene = mask_scene(*masks(seed))
    assert tversky(*scene, alpha=1.0, beta=1.0).item() == pytest.approx(jaccard(*scene, smooth=SMOOTH).item())


@given(st.floats(0.1, 5), st.floats(0.1, 5))
def test_alpha_is_for_false_and_beta_for_missed_pixels(mask_scene, alpha, beta):
    false, missed = mask_scene([99.0, 99.0], [1, 0]), mask_scene([99.0, -99.0], [1, 1])
    assert tversky(*false, alpha=alpha, beta=beta).item() == pytest.approx(alpha / (2 + alpha))
    assert tversky(*missed, alpha=alpha, beta=beta).item() == pytest.approx(beta / (2 + beta))
