from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from dmx.errors import UserError
from dmx.losses.ssim import mask_ssim, ssim
from dmx.quartet import Prediction


def test_by_hand(depth_scene):
    """Flat pictures differ in their means only: y = 1/2 and t = 1 of the range, C1 = 0.0001."""
    loss = ssim(*depth_scene(np.full((11, 11), 1.0), np.full((11, 11), 2.0)))
    assert loss.item() == pytest.approx((1 - 1.0001 / 1.2501) / 2, abs=1e-9)


def dissimilarity(y: np.ndarray, t: np.ndarray, valid: np.ndarray) -> list[float]:
    """(1 - SSIM) / 2 of scikit-image for each window of 11 pixels that holds known pixels only."""
    L = t[valid].max()
    y, t = np.where(valid, y, 0), np.where(valid, t, 0)
    _, S = structural_similarity(
        y, t, data_range=L, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    rows, columns = (np.arange(5, side - 5) for side in y.shape)
    return [(1 - S[i, j]) / 2 for i in rows for j in columns if valid[i - 5 : i + 6, j - 5 : j + 6].all()]


def test_mask_by_hand(mask_scene):
    """p = 1/2 beside an object that is not there: C1 / (1/4 + C1)."""
    loss = mask_ssim(*mask_scene(np.zeros((11, 11)), np.zeros((11, 11))))
    assert loss.item() == pytest.approx((1 - 0.0001 / 0.2501) / 2, abs=1e-9)


@given(st.integers(0, 100))
def test_mask_agrees_with_scikit_image(mask_scene, seed):
    rng = np.random.default_rng(seed)
    z, g = rng.normal(0, 3, (2, 1, 14, 15)), (rng.random((2, 1, 14, 15)) < 0.4).astype(float)
    g[:, 0, 7, 7] = 1  # the greatest of each sample is 1, which is the range of all masks
    valid = np.ones_like(g, dtype=bool)
    valid[1, 0, rng.integers(7), 0] = False
    p = 1 / (1 + np.exp(-z))
    expected = np.mean([v for i in range(2) for v in dissimilarity(p[i, 0], g[i, 0], valid[i, 0])])
    assert mask_ssim(*mask_scene(z, g, valid)).item() == pytest.approx(expected, abs=1e-7)


@given(st.integers(0, 100))
def test_agrees_with_scikit_image(depth_scene, seed):
    rng = np.random.default_rng(seed)
    t = rng.uniform(0.5, 9, (2, 1, 16, 20))
    y = t + rng.normal(0, 0.5, t.shape)
    valid = np.ones_like(t, dtype=bool)
    valid[0, 0, rng.integers(16), rng.integers(20)] = False
    expected = np.mean([v for i in range(2) for v in dissimilarity(y[i, 0], t[i, 0], valid[i, 0])])
    assert ssim(*depth_scene(y, t, valid)).item() == pytest.approx(expected, abs=1e-7)


@given(st.floats(1e-3, 1e3))
def test_the_unit_does_not_matter(depth_scene, factor):
    rng = np.random.default_rng(0)
    y, t = rng.uniform(1, 9, (2, 12, 12))
    one, other = ssim(*depth_scene(y, t)), ssim(*depth_scene(factor * y, factor * t))
    assert other.item() == pytest.approx(one.item(), rel=1e-6)


def test_nothing_but_zeros_is_perfect(depth_scene):
    assert ssim(*depth_scene(np.zeros((11, 11)), np.zeros((11, 11)))).item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("task", ["mask", "depth"])
def test_pictures_smaller_than_a_window_are_refused(depth_scene, task):
    with pytest.raises(UserError) as caught:
        (mask_ssim if task == "mask" else ssim)(*depth_scene(np.ones((8, 16)), np.ones((8, 16))))
    assert str(caught.value) == (
        f"{task} loss 'ssim' looks at windows of 11x11 pixels, but the pictures have 8x16; "
        "choose a smaller window or a larger size."
    )


@given(st.integers(0, 100))
def test_rounding_never_takes_it_below_zero(depth_scene, seed):
    """Weightings take logarithms of losses."""
    rng = np.random.default_rng(seed)
    t = rng.uniform(0.5, 9, (2, 1, 16, 16))
    prediction, batch = depth_scene(t * (1 + 1e-6 * rng.normal(size=t.shape)), t)
    narrow = Prediction(prediction.mask_logits, prediction.depth.float())
    assert ssim(narrow, replace(batch, depth=batch.depth.float())) >= 0
