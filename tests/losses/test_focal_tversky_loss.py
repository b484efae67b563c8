import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from segmentation_models_pytorch.losses import TverskyLoss

from dmx.losses.focal_tversky import focal_tversky
from dmx.losses.tversky import SMOOTH, tversky


def test_by_hand(mask_scene):
    """As for Tversky 1 - T = 1/4, now to the power 3/4."""
    loss = focal_tversky(*mask_scene([0.0, 0.0], [1, 0]), alpha=0.3, beta=0.7, gamma=4 / 3)
    assert loss.item() == pytest.approx(2**-1.5)


@given(st.integers(0, 1000), st.floats(0.1, 2), st.floats(0.1, 2), st.floats(1, 3))
def test_agrees_with_segmentation_models_for_each_sample(mask_scene, masks, seed, alpha, beta, gamma):
    z, g, valid = masks(seed)
    theirs = TverskyLoss(mode="binary", smooth=SMOOTH, alpha=alpha, beta=beta, gamma=1 / gamma)
    each = [theirs(*(torch.tensor(x[i][valid[i]])[None, None, None] for x in (z, g))) for i in range(2)]
    loss = focal_tversky(*mask_scene(z, g, valid), alpha=alpha, beta=beta, gamma=gamma)
    assert loss.item() == pytest.approx(np.mean(each), abs=1e-6)


@given(st.integers(0, 1000))
def test_with_gamma_1_it_is_tversky(mask_scene, masks, seed):
    scene = mask_scene(*masks(seed))
    assert focal_tversky(*scene, gamma=1.0).item() == pytest.approx(tversky(*scene).item(), rel=1e-12)


@pytest.mark.parametrize("logit", [20.0, 40.0, 800.0])
def test_gradient_is_finite_at_and_near_the_truth(mask_scene, logit):
    """The root's slope grows without bound towards 0, and is infinite there."""
    prediction, batch = mask_scene([logit, -logit], [1, 0])
    prediction.mask_logits.requires_grad_()
    loss = focal_tversky(prediction, batch)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert prediction.mask_logits.grad.isfinite().all()
