"""What nobody knows changes nothing: every metric with pixels whose truth is unknown."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dmx.metrics import Evaluator, ReferenceMaps
from dmx.quartet import DepthSpec
from dmx.registry import METRICS, mask_metrics

H, W = 40, 48
ROW, COLUMN = np.mgrid[:H, :W]
WHOLE = ("boundary_iou", "s_measure", "e_measure", "weighted_f")
"""Those of the mask that look at places; `checkerboard` is the one of depth."""
RELATIVE = DepthSpec("relative", 0.0, 1.0)
SURE = 800.0
"""A logit whose probability is exactly 1."""
few = settings(max_examples=12)


def values_of(spec, *scenes) -> dict[str, float | None]:
    evaluator = Evaluator(spec, thorough=True)
    for prediction, batch in scenes:
        flat = torch.ones_like(batch.depth[:1])
        evaluator.update(prediction, batch, ReferenceMaps(3 * flat, 0.3 * flat))
    return evaluator.compute()


def disc(radius: float, row: float = 20, column: float = 24) -> np.ndarray:
    return (ROW - row) ** 2 + (COLUMN - column) ** 2 <= radius**2


def of_mask(scene, metres, p: np.ndarray, g: np.ndarray, known: np.ndarray | None = None) -> dict[str, float | None]:
    """The metrics of one mask, p a probability or a predicted mask."""
    z = np.where(p, SURE, -SURE) if p.dtype == bool else np.log(p) - np.log1p(-p)
    known = np.ones_like(g) if known is None else known
    found = values_of(metres, scene(z=z[None, None], g=g[None, None], g_valid=known[None, None]))
    return {name: found[f"mask/{name}_per_image"] for name in mask_metrics if f"mask/{name}_per_image" in found}


def some(seed: int) -> tuple[np.ndarray, ...]:
    """Two samples: logits and masks that resemble each other, depths, and unknown pixels in patches and as specks."""
    rng = np.random.default_rng(seed)
    g = np.stack([disc(rng.uniform(4, 14), *rng.uniform(12, 30, 2)) for _ in range(2)])[:, None]
    z = np.where(g, 2.0, -2.0) + rng.normal(0, 2, g.shape)
    t = 2 + 0.05 * COLUMN + rng.normal(0, 0.2, g.shape)
    y = t + rng.normal(0, 0.3, g.shape)
    known = rng.random((2, *g.shape)) > rng.choice([0.0, 0.02])
    for sample in known.reshape(-1, H, W):
        top, left = rng.integers(0, 30, 2)
        sample[top : top + rng.integers(1, 20), left : left + rng.integers(1, 30)] = False
    return z, g.astype(float), y, t, *known


def test_all_metrics_are_looked_at(metres):
    looked_at = {name.rpartition("_p")[0] for name in values_of(metres)}
    assert looked_at == {f"{task}/{name}" for task, registry in METRICS.items() for name in registry}


@pytest.mark.parametrize("spec", [DepthSpec("metric", 0.5, 10.0), RELATIVE], ids=["metric", "relative"])
@few
@given(seed=st.integers(0, 10_000))
def test_what_stands_in_unknown_pixels_changes_no_metric(scene, spec, seed):
    z, g, y, t, g_valid, t_valid = some(seed)
    rng = np.random.default_rng(seed + 1)
    expected = values_of(spec, scene(z, g, y, t, g_valid, t_valid))
    assert None not in expected.values()
    for junk in (rng.normal(0, 50, z.shape), np.full_like(z, np.nan), np.full_like(z, np.inf), -np.ones_like(z)):
        spoilt = [np.where(valid, x, junk) for x, valid in ((z, g_valid), (g, g_valid), (y, t_valid), (t, t_valid))]
        assert values_of(spec, scene(*spoilt, g_valid, t_valid)) == expected


@few
@given(st.integers(0, 10_000))
def test_the_truth_has_all_points_whatever_is_unknown(scene, metres, seed):
    """And without unknown pixels it has the same: 1, but for E, which has one threshold, 0, at which all is object."""
    _, g, _, t, g_valid, t_valid = some(seed)
    assert ((g > 0.5) & g_valid).any((1, 2, 3)).all()
    found = values_of(metres, scene((2 * g - 1) * SURE, g, t, t, g_valid, t_valid))
    for name in WHOLE:
        if found[f"mask/{name}_per_image"] is not None:  # no outline is known
            assert found[f"mask/{name}_per_image"] == pytest.approx(1, abs=0.02 if name == "e_measure" else 1e-6), name
    assert found["depth/checkerboard_pooled"] in (0, None)


@pytest.mark.parametrize("ring", [(6, 9), (5, 10), (0, 8)])
def test_the_rim_of_an_unknown_ring_is_no_boundary(scene, metres, ring):
    """An object of radius 15 found with radius 11: no pixel near the one outline is near the other."""
    g, p = disc(15), disc(11)
    assert of_mask(scene, metres, p, g)["boundary_iou"] == 0
    known = ~disc(ring[1]) | disc(ring[0])
    assert of_mask(scene, metres, p, g, known)["boundary_iou"] == 0


def test_a_large_disc_with_an_unlabelled_ring(scene, metres):
    """A disc of radius 30 predicted with radius 20, and nothing known between 12 and 16."""
    row, column = np.mgrid[:100, :100]
    away = np.hypot(row - 50, column - 50)
    known = (away < 12) | (away > 16)
    assert of_mask(scene, metres, away <= 20, away <= 30)["boundary_iou"] == 0
    assert of_mask(scene, metres, away <= 20, away <= 30, known)["boundary_iou"] == 0
    assert of_mask(scene, metres, away <= 30, away <= 30, known)["boundary_iou"] == 1


def test_an_outline_within_an_unknown_region_is_not_guessed(scene, metres):
    """Object to the left, the rest to the right, ten columns unknown between: nobody knows where the outline runs.

    With d = 1 the picture's edge alone is near: 38 + 2 · 20 pixels of the object's three sides.
    """
    g = COLUMN < 24
    known = (COLUMN < 20) | (COLUMN >= 30)
    for outline in (22, 25, 29):
        assert of_mask(scene, metres, outline > COLUMN, g, known)["boundary_iou"] == 1
    wider = of_mask(scene, metres, COLUMN < 10, g, known)["boundary_iou"]
    d = round(0.02 * np.hypot(H, W))
    edge = (H - 2 * d) * d + 2 * d * 20  # of the object's known part
    common = (H - 2 * d) * d + 2 * d * 10
    assert wider == pytest.approx(common / (edge + (H - 2 * d) * d))


@few
@given(st.integers(0, 10_000), st.integers(1, 20), st.booleans())
def test_an_unknown_margin_is_as_if_the_picture_ended_there(scene, metres, seed, margin, transposed):
    """S and E have no other neighbourhood than the picture; brier, IoU and Dice none at all."""
    rng = np.random.default_rng(seed)
    g = disc(rng.uniform(3, 12), *rng.uniform(8, 24, 2))
    p = np.clip(np.where(g, 0.7, 0.2) + rng.normal(0, 0.15, g.shape), 0.01, 0.99)
    known = W - margin > COLUMN
    p, g, known = (x.T if transposed else x for x in (p, g, known))
    kept = np.s_[: W - margin] if transposed else np.s_[:, : W - margin]
    marked, cropped = of_mask(scene, metres, p, g, known), of_mask(scene, metres, p[kept], g[kept])
    for name in ("s_measure", "e_measure", "iou", "dice", "brier", "mae"):
        assert marked[name] == pytest.approx(cropped[name], abs=1e-12), name


@few
@given(st.integers(0, 10_000))
def test_far_from_all_errors_it_costs_and_gives_nothing_to_be_unknown(scene, metres, seed):
    """Background that is right counts neither for the boundary IoU nor for the weighted F-measure."""
    rng = np.random.default_rng(seed)
    g, p = disc(8, 14, 16), disc(8, *rng.uniform(12, 16, 2))
    known = (ROW < 30) & (COLUMN < 34) | (rng.random((H, W)) < 0.5)
    for name, value in of_mask(scene, metres, p, g, known).items():
        if name in ("boundary_iou", "weighted_f", "iou", "dice"):
            assert value == pytest.approx(of_mask(scene, metres, p, g)[name], abs=1e-12), name


def test_unknown_pixels_are_no_background(scene, metres):
    """Half of a picture that nobody knows is not half a picture that was got right."""
    g, p = disc(9, 20, 12), disc(9, 20, 17)
    known = COLUMN < 30
    for name in ("s_measure", "e_measure"):
        assert of_mask(scene, metres, p, g, known)[name] < of_mask(scene, metres, p, g)[name] - 0.005
