"""Metrics of a mask as a whole: against the program of the literature, other ways to compute them, and by hand."""

import numpy as np
import pytest
import torch
from helpers.oracles import ORACLES
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_cdt
from sklearn.metrics import average_precision_score, brier_score_loss

from dmx.metrics import Evaluator, Probabilities
from dmx.metrics.boundary_iou import rim


def logit(p):
    return np.log(p) - np.log1p(-p)


def values_of(spec, *scenes):
    evaluator = Evaluator(spec, thorough=True)
    for prediction, batch in scenes:
        evaluator.update(prediction, batch)
    return evaluator.compute()


def pictures(seed: int, count: int = 3, height: int = 21, width: int = 34):
    """Smooth blobs as probabilities, and masks that resemble them; without and full of an object, too."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    bumps = [
        np.exp(-((y - rng.uniform(0, height)) ** 2 + (x - rng.uniform(0, width)) ** 2) / rng.uniform(8, 120))
        for _ in range(count)
    ]
    p = np.clip(np.stack(bumps) + rng.normal(0, 0.1, (count, height, width)), 0.001, 0.999)
    g = np.stack([bump > rng.uniform(0.2, 0.7) for bump in bumps])
    g[0] = rng.choice([0, 1]) if seed % 5 == 0 else g[0]
    return p, g


@pytest.mark.parametrize("name", ORACLES)
@given(seed=st.integers(0, 10_000))
def test_agrees_with_the_program_of_the_literature(scene, metres, name, seed):
    p, g = pictures(seed)
    p = np.where(np.abs(p * 255 - (p * 255).round()) < 1e-6, p + 1e-5, p)  # on a threshold either side is right
    make, read = ORACLES[name]
    oracle = make()
    for one, truth in zip(p, g, strict=True):
        oracle.step(one, truth.astype(bool), normalize=False)
    values = values_of(metres, scene(z=logit(p)[:, None], g=g[:, None]))
    assert values[f"mask/{name}_per_image"] == pytest.approx(float(read(oracle.get_results())), abs=1e-6)
    assert f"mask/{name}_pooled" not in values


@pytest.mark.parametrize("name", ORACLES)
def test_what_is_right_everywhere_has_all_points(scene, metres, name):
    g = np.zeros((1, 1, 12, 12))
    g[..., 3:8, 4:9] = 1
    right = values_of(metres, scene(z=(g * 2 - 1) * 40, g=g))[f"mask/{name}_per_image"]
    wrong = values_of(metres, scene(z=(1 - g * 2) * 40, g=g))[f"mask/{name}_per_image"]
    assert right == pytest.approx(1, abs=0.02)  # E has one threshold, 0, at which all is object
    assert wrong < 0.35


def test_where_nobody_knows_the_mask_nothing_counts(scene, metres):
    p, g = pictures(3, count=2)
    known = np.ones_like(g)
    known[1] = False
    both = values_of(metres, scene(z=logit(p)[:, None], g=g[:, None], g_valid=known[:, None]))
    first = values_of(metres, scene(z=logit(p)[:1, None], g=g[:1, None]))
    for name in (*ORACLES, "boundary_iou"):
        assert both[f"mask/{name}_per_image"] == first[f"mask/{name}_per_image"]


def test_nan_is_not_repaired(scene, metres):
    p, g = pictures(3, count=2)
    z = logit(p)[:, None]
    z[1, 0, 5, 5] = np.nan
    values = values_of(metres, scene(z=z, g=g[:, None]))
    assert {name: values[f"mask/{name}_per_image"] for name in (*ORACLES, "boundary_iou", "brier")} == dict.fromkeys(
        (*ORACLES, "boundary_iou", "brier")
    )


@given(st.integers(0, 10_000), st.integers(1, 4))
def test_the_rim_is_what_lies_near_the_outline(seed, distance):
    g = pictures(seed)[1][1].astype(bool)
    around = np.pad(g, 1)
    far = distance_transform_cdt(around, metric="chessboard")[1:-1, 1:-1]
    assert np.array_equal(rim(g, np.ones_like(g), distance), g & (far <= distance))


@given(st.integers(0, 10_000), st.integers(1, 4))
def test_the_rim_of_known_pixels_by_their_distances(seed, distance):
    """Each known pixel of the mask against each known pixel that is not in it, and against the picture's edge."""
    rng = np.random.default_rng(seed)
    g = pictures(seed, height=12, width=14)[1][1].astype(bool)
    known = rng.random(g.shape) > rng.uniform(0, 0.6)
    outside = np.pad(g | ~known, 1)  # False beyond the edge
    others = np.argwhere(~outside) - 1
    near = [
        g[place] and known[place] and np.abs(others - place).max(1).min() <= distance for place in np.ndindex(*g.shape)
    ]
    assert rim(g, known, distance).ravel().tolist() == near


def test_boundary_iou_by_hand(scene, metres):
    """10x10 pixels: d = round(0.02 · 14.1) = 0, so 1. Two 4x4 squares, shifted by one: rims of 12, in common 6."""
    g, z = np.zeros((1, 1, 10, 10)), np.full((1, 1, 10, 10), -5.0)
    g[..., 2:6, 2:6], z[..., 2:6, 3:7] = 1, 5.0
    values = values_of(metres, scene(z=z, g=g))
    assert values["mask/boundary_iou_pooled"] == pytest.approx(6 / 18)
    assert values["mask/iou_pooled"] == pytest.approx(12 / 20)


@given(st.integers(0, 10_000))
def test_brier_curves_and_calibration_agree_with_sklearn(scene, metres, seed):
    p, g = pictures(seed)
    p, g = (p * 1000).round() / 1000, g.astype(int)
    p = np.where(np.abs(p * 300 - (p * 300).round()) < 1e-6, p + 1e-4, p)  # on an edge either side is right
    g[1, :3, :3] = 1
    prediction, batch = scene(z=logit(p)[:, None], g=g[:, None])
    values = values_of(metres, (prediction, batch))
    assert values["mask/brier_pooled"] == pytest.approx(brier_score_loss(g.ravel(), p.ravel()), abs=1e-6)
    halves = [Probabilities.of(*scene(z=logit(p)[part, None], g=g[part, None])) for part in (slice(0, 1), slice(1, 3))]
    spread = halves[0] + halves[1]
    for threshold in (0.1, 0.5, 0.83):
        hard = p > round(threshold * 300) / 300
        assert spread.iou_at(threshold) == pytest.approx((hard & (g == 1)).sum() / (hard | (g == 1)).sum())
    area = float((spread.precision * -torch.diff(spread.recall, append=torch.zeros(1, dtype=torch.float64))).sum())
    in_bins = average_precision_score(g.ravel(), np.ceil(p.ravel() * 300))
    assert area == pytest.approx(in_bins, abs=1e-6)
    bins = np.minimum((p * 15).astype(int), 14)
    expected = sum(
        (bins == b).mean() * abs(g[bins == b].mean() - p[bins == b].mean()) for b in range(15) if (bins == b).any()
    )
    assert spread.calibration_error == pytest.approx(expected, abs=1e-6)


def test_the_best_threshold_is_found(scene):
    """IoU is 1 between 0.3 and 0.7, and the middle of that is taken."""
    spread = Probabilities.of(*scene(z=logit(np.array([0.1, 0.3, 0.7, 0.9])), g=[0, 0, 1, 1]))
    assert spread.iou.max() == 1
    assert spread.best_threshold == pytest.approx(0.5, abs=0.01)


def test_without_an_object_there_is_no_threshold(scene):
    spread = Probabilities.of(*scene(z=[1.0, -1.0], g=[0, 0]))
    assert spread.best_threshold is None
    assert Probabilities.of(*scene(z=[0.0], g=[0], g_valid=[0])).calibration_error is None
