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


def dissimilarity(y: np.ndarray, t: np.ndarray) -> list[float]:
    """(1 - SSIM) / 2 of scikit-image for each window of 11 pixels."""
    _, S = structural_similarity(
        y, t, data_range=t.max(), gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    return list((1 - S[5:-5, 5:-5].ravel()) / 2)


def partly_known(y: np.ndarray, t: np.ndarray, valid: np.ndarray) -> float:
    """The same, window by window, of the known pixels alone."""
    y, t = y / t[valid].max(), t / t[valid].max()
    x = np.arange(-5, 6)
    gauss = np.exp(-(x[:, None] ** 2 + x**2) / (2 * 1.5**2))
    gauss /= gauss.sum()
    total, weight = 0.0, 0.0
    for i, j in np.ndindex(y.shape[0] - 10, y.shape[1] - 10):
        here = np.s_[i : i + 11, j : j + 11]
        known, w = valid[here], gauss[valid[here]]
        if known.any():
            a, b = y[here][known], t[here][known]
            (var_a, cov), (_, var_b) = np.cov(a, b, aweights=w, ddof=0) if known.sum() > 1 else np.zeros((2, 2))
            m, n = np.average(a, weights=w), np.average(b, weights=w)
            S = (2 * m * n + 1e-4) * (2 * cov + 9e-4) / ((m**2 + n**2 + 1e-4) * (var_a + var_b + 9e-4))
            total, weight = total + w.sum() * (1 - S) / 2, weight + w.sum()
    return total / weight


def test_mask_by_hand(mask_scene):
    """p = 1/2 beside an object that is not there: C1 / (1/4 + C1)."""
    loss = mask_ssim(*mask_scene(np.zeros((11, 11)), np.zeros((11, 11))))
    assert loss.item() == pytest.approx((1 - 0.0001 / 0.2501) / 2, abs=1e-9)


@given(st.integers(0, 100))
def test_mask_agrees_with_scikit_image(mask_scene, seed):
    rng = np.random.default_rng(seed)
    z, g = rng.normal(0, 3, (2, 1, 14, 15)), (rng.random((2, 1, 14, 15)) < 0.4).astype(float)
    g[:, 0, 7, 7] = 1  # the greatest of each sample is 1, which is the range of all masks
    p = 1 / (1 + np.exp(-z))
    expected = np.mean([v for i in range(2) for v in dissimilarity(p[i, 0], g[i, 0])])
    assert mask_ssim(*mask_scene(z, g)).item() == pytest.approx(expected, abs=1e-7)


@given(st.integers(0, 100))
def test_agrees_with_scikit_image(depth_scene, seed):
    rng = np.random.default_rng(seed)
    t = rng.uniform(0.5, 9, (2, 1, 16, 20))
    y = t + rng.normal(0, 0.5, t.shape)
    expected = np.mean([v for i in range(2) for v in dissimilarity(y[i, 0], t[i, 0])])
    assert ssim(*depth_scene(y, t)).item() == pytest.approx(expected, abs=1e-7)


@given(st.integers(0, 100), st.sampled_from([0.02, 0.5, 0.99]))
def test_of_partly_known_windows_the_known_pixels_count(depth_scene, seed, share):
    rng = np.random.default_rng(seed)
    t = rng.uniform(0.5, 9, (1, 1, 13, 14))
    y = t + rng.normal(0, 0.5, t.shape)
    valid = rng.random(t.shape) < share
    valid[0, 0, 6, 6] = True
    expected = partly_known(y[0, 0], t[0, 0], valid[0, 0])
    assert ssim(*depth_scene(y, t, valid)).item() == pytest.approx(expected, abs=1e-6)


def test_one_known_pixel_teaches(depth_scene):
    valid = np.zeros((1, 1, 16, 16), dtype=bool)
    valid[0, 0, 8, 8] = True
    prediction, batch = depth_scene(np.full((16, 16), 1.0), np.full((16, 16), 2.0), valid)
    prediction.depth.requires_grad_()
    ssim(prediction, batch).backward()
    assert prediction.depth.grad[0, 0, 8, 8] < 0


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
