import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from segmentation_models_pytorch.losses import JaccardLoss

from dmx.losses.jaccard import jaccard


def test_by_hand(mask_scene):
    """p = (1, 1/2), g = (1, 0): I = 1, U = 3/2, so 1 - (1 + 1) / (3/2 + 1)."""
    assert jaccard(*mask_scene([50.0, 0.0], [1, 0])).item() == pytest.approx(0.2)


@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_agrees_with_segmentation_models_for_each_sample(mask_scene, masks, seed, smooth):
    z, g, valid = masks(seed)
    theirs = JaccardLoss(mode="binary", smooth=smooth)
    each = [theirs(*(torch.tensor(x[i][valid[i]])[None, None, None] for x in (z, g))) for i in range(2)]
    assert jaccard(*mask_scene(z, g, valid), smooth=smooth).item() == pytest.approx(np.mean(each), abs=1e-6)


@given(st.integers(0, 1000))
def test_of_a_hard_mask_it_is_one_minus_intersection_over_union(mask_scene, masks, seed):
    z, g, valid = masks(seed)
    said = z > 0
    each = [
        1 - np.sum(said[i][valid[i]] * g[i][valid[i]]) / np.sum(np.maximum(said[i], g[i])[valid[i]]) for i in range(2)
    ]
    loss = jaccard(*mask_scene(np.where(said, 99.0, -99.0), g, valid), smooth=1e-9)
    assert loss.item() == pytest.approx(np.mean(each), abs=1e-7)


def test_no_object_and_none_predicted_is_perfect(mask_scene):
    assert jaccard(*mask_scene([-80.0, -80.0], [0, 0])).item() == pytest.approx(0, abs=1e-12)
