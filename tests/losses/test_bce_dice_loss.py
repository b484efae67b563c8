import numpy as np
import pytest

from dmx.losses.bce import bce
from dmx.losses.bce_dice import depth_bce_dice, mask_bce_dice
from dmx.losses.dice import dice
from dmx.registry import depth_losses


def test_mask_by_hand(mask_scene):
    """p = 1/2 on the object: ln 2, and D = (1 + 1) / (1/4 + 1 + 1) = 8/9."""
    assert mask_bce_dice(*mask_scene([0.0], [1]), dice_weight=2.0).item() == pytest.approx(np.log(2) + 2 / 9)


def test_depth_by_hand(depth_scene):
    """The raw output is the logit: p = 1/2 against 1/2 costs ln 2 and, with the squares below, no Dice."""
    assert depth_bce_dice(*depth_scene([0.0], [0.5])).item() == pytest.approx(np.log(2))


def test_is_the_sum_of_its_parts(mask_scene):
    rng = np.random.default_rng(0)
    scene = mask_scene(rng.normal(size=(2, 1, 4, 4)), rng.random((2, 1, 4, 4)) < 0.5, rng.random((2, 1, 4, 4)) < 0.6)
    assert mask_bce_dice(*scene, dice_weight=0.3).item() == pytest.approx((bce(*scene) + 0.3 * dice(*scene)).item())


def test_depth_agrees_with_numpy_on_known_pixels(depth_scene):
    rng = np.random.default_rng(1)
    z, g, valid = rng.normal(0, 2, (2, 1, 6, 6)), rng.random((2, 1, 6, 6)), rng.random((2, 1, 6, 6)) < 0.6
    p = 1 / (1 + np.exp(-z))
    cross_entropy = -(g * np.log(p) + (1 - g) * np.log(1 - p))[valid].mean()
    each = [
        1 - (2 * (a * b).sum() + 1) / ((a**2).sum() + (b**2).sum() + 1)
        for a, b in ((p[i][valid[i]], g[i][valid[i]]) for i in range(2))
    ]
    assert depth_bce_dice(*depth_scene(z, g, valid)).item() == pytest.approx(cross_entropy + np.mean(each), abs=1e-12)


def test_depth_form_is_for_raw_outputs_of_relative_depth():
    facts = depth_losses["bce_dice"].facts
    assert (facts["kinds"], facts["needs"]) == (("relative",), {"depth_link": ("identity",)})
