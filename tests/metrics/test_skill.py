"""Skill against the maps of the training part: by hand, at its fixed points, and against NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmx.metrics import Evaluator, ReferenceMaps, higher_is_better

SURE = 800.0
"""A logit whose probability is exactly 1."""


def plane(values):
    """A row of pixels, or (1, 1, H, W)."""
    x = torch.as_tensor(np.asarray(values, dtype=float))
    return x.reshape((1,) * (4 - x.ndim) + tuple(x.shape))


def skill(spec, task, reference, *scenes):
    evaluator = Evaluator(spec)
    for prediction, batch in scenes:
        evaluator.update(prediction, batch, reference)
    values = evaluator.compute()
    return values[f"{task}/skill_pooled"], values[f"{task}/skill_per_image"]


def test_depth_by_hand(scene, metres):
    """Sample 1: errors 1 and 0 against 2 and 1: 1 - 1/5. Sample 2: 3 against 1 in the one known pixel: 1 - 9/1."""
    reference = ReferenceMaps(depth=plane([3.0, 5.0]))
    first = scene(y=[2.0, 4.0], t=[1.0, 4.0])
    second = scene(y=[5.0, 7.0], t=[2.0, 9.0], t_valid=[1, 0])
    assert skill(metres, "depth", reference, first) == pytest.approx((0.8, 0.8))
    assert skill(metres, "depth", reference, first, second) == pytest.approx((1 - 10 / 6, (0.8 - 8) / 2))


def test_mask_by_hand(scene, metres):
    """p = 1/2 and 1 for g = 0 and 1 has the error 1/4; the map 1/4 and 1/2 has 1/16 + 1/4."""
    reference = ReferenceMaps(mask=plane([0.25, 0.5]))
    found = skill(metres, "mask", reference, scene(z=[0.0, SURE], g=[0, 1]))
    assert found == pytest.approx((1 - 0.25 / (1 / 16 + 1 / 4),) * 2)


def test_of_both_tasks_it_is_the_mean(scene, metres):
    """The depth's 0.8 of above, and 1 - (1/4 + 1/4) / (1/16 + 1/4) of the mask."""
    reference = ReferenceMaps(plane([3.0, 5.0]), plane([0.25, 0.5]))
    evaluator = Evaluator(metres)
    evaluator.update(*scene(z=[0.0, 0.0], g=[0, 1], y=[2.0, 4.0], t=[1.0, 4.0]), reference)
    assert evaluator.compute()["joint/skill_pooled"] == pytest.approx((0.8 + 1 - 0.5 / (1 / 16 + 1 / 4)) / 2)
    assert "joint/skill_per_image" not in evaluator.compute()
    table = evaluator.samples(dict.fromkeys(evaluator.ids, "room"))
    assert table.values("joint/skill") == pytest.approx([(0.8 + 1 - 0.5 / (1 / 16 + 1 / 4)) / 2])


@pytest.mark.parametrize("reference", [ReferenceMaps(depth=plane([3.0])), ReferenceMaps(mask=plane([0.5]))])
def test_of_both_tasks_it_has_no_value_where_one_has_none(scene, metres, reference):
    evaluator = Evaluator(metres)
    evaluator.update(*scene(z=[1.0], y=[2.0], t=[1.0]), reference)
    assert evaluator.compute()["joint/skill_pooled"] is None


def test_the_map_has_none_and_the_truth_all(scene, metres):
    rng = np.random.default_rng(0)
    t, g = rng.uniform(1, 9, (3, 1, 4, 5)), rng.random((3, 1, 4, 5)) < 0.4
    depth, mask = rng.uniform(1, 9, (4, 5)), rng.uniform(0.1, 0.9, (4, 5))
    reference = ReferenceMaps(plane(depth), plane(mask))
    of_map = scene(z=np.log(mask) - np.log1p(-mask) + 0 * t, g=g, y=depth + 0 * t, t=t)
    truth = scene(z=np.where(g, SURE, -SURE), g=g, y=t, t=t)
    for task in ("mask", "depth"):
        assert skill(metres, task, reference, of_map) == pytest.approx((0, 0), abs=1e-9)
        assert skill(metres, task, reference, truth) == (1, 1)


def test_without_a_reference_it_has_no_value(scene, metres):
    for task in ("mask", "depth"):
        assert skill(metres, task, ReferenceMaps(), scene(z=[1.0], y=[2.0])) == (None, None)


def test_against_a_reference_without_error_it_has_no_value(scene, metres):
    """In the pooled value the other samples count; alone there is nothing to divide by."""
    reference = ReferenceMaps(depth=plane([2.0]))
    perfect, other = scene(y=[3.0], t=[2.0]), scene(y=[3.0], t=[4.0])
    assert skill(metres, "depth", reference, perfect) == (None, None)
    assert skill(metres, "depth", reference, perfect, other) == (1 - 2 / 4, 1 - 1 / 4)


@given(st.integers(0, 10_000))
def test_agrees_with_numpy(scene, metres, seed):
    rng = np.random.default_rng(seed)
    shape = (3, 1, 4, 6)
    z, g, y, t = rng.normal(0, 2, shape), rng.random(shape) < 0.4, *rng.uniform(1, 9, (2, *shape))
    g_valid, t_valid = rng.random((2, *shape)) < 0.7
    g_valid[:, 0, 0, 0] = t_valid[:, 0, 0, 0] = True
    mask, depth = rng.random((4, 6)), rng.uniform(1, 9, (4, 6))
    given_ = scene(z, g, y, np.where(t_valid, t, np.nan), g_valid, t_valid)
    for task, x, r, truth, valid in (("mask", 1 / (1 + np.exp(-z)), mask, g, g_valid), ("depth", y, depth, t, t_valid)):
        own, other = (np.where(valid, (one - truth) ** 2, 0).sum((1, 2, 3)) for one in (x, r))
        expected = 1 - own.sum() / other.sum(), np.mean(1 - own / other)
        assert skill(metres, task, ReferenceMaps(plane(depth), plane(mask)), given_) == pytest.approx(expected)


def test_more_is_better():
    assert higher_is_better("depth/skill_pooled")
    assert higher_is_better("mask/skill_per_image")
    assert higher_is_better("joint/skill_pooled")
