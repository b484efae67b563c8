import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kornia.losses import LovaszHingeLoss
from segmentation_models_pytorch.losses import LovaszLoss

from dmx.losses.lovasz import lovasz


def test_by_hand(mask_scene):
    """Errors 3/2 beside the object and 1 on it: Jaccard losses 1/2 and 1, so 3/2 · 1/2 + 1 · 1/2."""
    assert lovasz(*mask_scene([0.0, 0.5], [1, 0])).item() == 1.25


def test_without_an_object_the_worst_pixel_counts(mask_scene):
    assert lovasz(*mask_scene([0.0, 0.5, -3.0], [0, 0, 0])).item() == 1.5


@given(st.integers(0, 1000))
def test_agrees_with_kornia_and_segmentation_models_on_known_pixels(mask_scene, masks, seed):
    """Theirs get the known pixels alone, each sample by itself."""
    z, g, valid = masks(seed)
    each = []
    for i in range(2):
        logits, truth = (torch.tensor(x[i][valid[i]])[None, None] for x in (z, g))
        each.append(LovaszHingeLoss()(logits[:, None], truth).item())
        assert LovaszLoss(mode="binary")(logits.float(), truth).item() == pytest.approx(each[-1], abs=1e-6)
    assert lovasz(*mask_scene(z, g, valid)).item() == pytest.approx(np.mean(each), abs=1e-6)


@given(st.integers(0, 1000))
def test_of_hard_masks_it_is_twice_the_jaccard_loss(mask_scene, masks, seed):
    """At z = 1 and -1 the errors are 0 or 2, where the extension meets the set function it extends."""
    z, g, valid = masks(seed)
    said = z > 0
    each = [
        1 - np.sum(said[i][valid[i]] * g[i][valid[i]]) / np.sum(np.maximum(said[i], g[i])[valid[i]]) for i in range(2)
    ]
    assert lovasz(*mask_scene(np.where(said, 1.0, -1.0), g, valid)).item() == pytest.approx(2 * np.mean(each), abs=1e-9)
