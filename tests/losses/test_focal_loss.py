import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import sigmoid_focal_loss

from dmx.losses.bce import bce
from dmx.losses.focal import focal


def test_by_hand(mask_scene):
    """p = 1/2: 1/4 · 1/4 · ln 2 on the object, 3/4 · 1/4 · ln 2 beside it."""
    assert focal(*mask_scene([0.0, 0.0], [1, 0])).item() == pytest.approx(np.log(2) / 8)


@given(st.integers(0, 1000), st.floats(0.05, 0.95), st.floats(0, 5))
def test_agrees_with_torchvision(mask_scene, seed, alpha, gamma):
    rng = np.random.default_rng(seed)
    z, g, valid = rng.normal(0, 3, (2, 1, 4, 5)), rng.random((2, 1, 4, 5)) < 0.5, rng.random((2, 1, 4, 5)) < 0.7
    valid[0, 0, 0, 0] = True
    expected = sigmoid_focal_loss(torch.tensor(z[valid]), torch.tensor(g[valid]).double(), alpha, gamma).mean()
    loss = focal(*mask_scene(z, g, valid), alpha=alpha, gamma=gamma)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-9)


def test_without_focus_it_is_half_the_cross_entropy(mask_scene):
    scene = mask_scene([1.0, -2.0, 0.3], [1, 0, 0])
    assert focal(*scene, alpha=0.5, gamma=0.0).item() == pytest.approx(bce(*scene).item() / 2)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("logit", [-200.0, 200.0])
def test_gradient_is_finite_where_the_probability_saturates(mask_scene, gamma, logit):
    prediction, batch = mask_scene([logit, 0.0], [1, 0])
    prediction.mask_logits.requires_grad_()
    focal(prediction, batch, gamma=gamma).backward()
    assert prediction.mask_logits.grad.isfinite().all()
