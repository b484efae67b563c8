import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmx.metrics import Evaluator, definitions, higher_is_better, names
from dmx.quartet import Prediction


def values_of(spec, *scenes):
    evaluator = Evaluator(spec)
    for prediction, batch in scenes:
        evaluator.update(prediction, batch)
    return evaluator.compute()


def test_depth_by_hand(scene, metres):
    """y = (1, 2), t = (2, 2): one pixel is right, one is half of the truth."""
    values = values_of(metres, scene(y=[1.0, 2.0], t=[2.0, 2.0]))
    by_hand = {
        "abs_rel": 1 / 4,
        "sq_rel": 1 / 4,
        "rmse": np.sqrt(1 / 2),
        "rmse_log": np.log(2) * np.sqrt(1 / 2),
        "silog_lambda1": np.log(2) / 2,
        "log10": np.log10(2) / 2,
        "delta1": 1 / 2,
        "delta2": 1 / 2,
        "delta3": 1 / 2,
        "mae": 1 / 2,
    }
    for name, value in by_hand.items():
        assert values[f"depth/{name}_pooled"] == pytest.approx(value), name


def test_delta_is_strict_and_looks_both_ways(scene, metres):
    values = values_of(metres, scene(y=[1.25, 0.8, 1.5, 1.9, 1.2], t=[1.0, 1.0, 1.0, 1.0, 1.0]))
    assert [values[f"depth/delta{k}_pooled"] for k in (1, 2, 3)] == [1 / 5, 4 / 5, 5 / 5]


def test_mask_by_hand(scene, metres):
    """Predicted: two pixels; true: two; one of them is common. A logit of 0 is not above 1/2."""
    values = values_of(metres, scene(z=[9.0, 0.1, 0.0, -9.0], g=[1, 0, 1, 0]))
    assert values["mask/iou_pooled"] == pytest.approx(1 / 3)
    assert values["mask/dice_pooled"] == pytest.approx(1 / 2)


def test_pooled_and_per_image_are_told_apart(scene, metres):
    """A large object found whole and a small one missed: pooled 8/9, per image 1/2."""
    z = np.full((2, 1, 1, 8), -5.0)
    z[0] = 5.0
    g = np.zeros((2, 1, 1, 8))
    g[0], g[1, 0, 0, 0] = 1, 1
    values = values_of(metres, scene(z=z, g=g))
    assert values["mask/iou_pooled"] == pytest.approx(8 / 9)
    assert values["mask/iou_per_image"] == pytest.approx(1 / 2)


@given(st.integers(0, 1000), st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_batching_does_not_matter(scene, metres, seed, sizes):
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    z, g = rng.normal(size=(n, 1, 3, 4)), rng.random((n, 1, 3, 4)) < 0.5
    y, t = rng.uniform(0.5, 9, (2, n, 1, 3, 4))
    t_valid = rng.random((n, 1, 3, 4)) < 0.5
    ends = np.cumsum(sizes)
    parts = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    whole = values_of(metres, scene(z, g, y, t, t_valid=t_valid))
    apart = values_of(metres, *(scene(z[p], g[p], y[p], t[p], t_valid=t_valid[p]) for p in parts))
    assert apart == pytest.approx(whole, abs=1e-12)


def test_nothing_seen_is_no_value(metres):
    assert Evaluator(metres).compute() == dict.fromkeys(names(metres))


def test_nothing_known_is_no_value(scene, metres):
    nowhere = [0, 0]
    values = values_of(metres, scene(z=[1.0, -1.0], g=[1, 0], g_valid=nowhere, t_valid=nowhere))
    assert values == dict.fromkeys(names(metres))


def test_no_object_and_none_predicted_is_no_value_and_not_in_the_mean(scene, metres):
    nothing, half = scene(z=[-1.0, -1.0], g=[0, 0]), scene(z=[1.0, 1.0], g=[1, 0])
    assert values_of(metres, nothing)["mask/iou_pooled"] is None
    assert values_of(metres, nothing, half)["mask/iou_per_image"] == pytest.approx(1 / 2)


def test_nan_in_a_prediction_is_never_repaired(scene, metres):
    """It reaches every metric, in both forms, though the other sample is fine."""
    good = scene(z=[1.0, -1.0], g=[1, 0], y=[1.0, 2.0], t=[1.0, 2.0])
    bad = scene(z=[np.nan, -1.0], g=[1, 0], y=[np.nan, 2.0], t=[1.0, 2.0])
    assert values_of(metres, good, bad) == dict.fromkeys(names(metres))


@pytest.mark.parametrize("depth", [0.0, -1.0])
def test_depth_not_above_zero_has_no_ratio(scene, metres, depth):
    values = values_of(metres, scene(y=[depth, 2.0], t=[1.0, 2.0]))
    for name in ("rmse_log", "silog_lambda1", "log10", "delta1", "delta2", "delta3"):
        assert values[f"depth/{name}_pooled"] is None, name
    assert values["depth/rmse_pooled"] == pytest.approx((1 - depth) / np.sqrt(2))


def test_a_constant_ratio_has_no_spread(scene, metres):
    """Rounding must not leave the root of a number just below 0."""
    t = np.random.default_rng(0).uniform(0.5, 9, (1, 1, 30, 30))
    assert values_of(metres, scene(y=1.7 * t, t=t))["depth/silog_lambda1_pooled"] == pytest.approx(0, abs=1e-7)


def test_sums_are_float64(scene, metres):
    """90,000 float32 pixels: a float32 sum keeps 7 digits at best."""
    prediction, batch = scene(y=np.full((1, 1, 300, 300), 1.1), t=np.full((1, 1, 300, 300), 1.0))
    narrow = Prediction(prediction.mask_logits.float(), prediction.depth.float())
    error = np.float64(np.float32(1.1)) - 1
    assert values_of(metres, (narrow, batch))["depth/mae_pooled"] == pytest.approx(error, rel=1e-12)


def test_relative_depth_has_no_ratio_metrics(disparity):
    tasks = {name.removesuffix("_pooled") for name in names(disparity) if name.endswith("_pooled")}
    masks = {"mask/iou", "mask/dice", "mask/mae", "mask/skill"}
    assert tasks == {*masks, "depth/rmse", "depth/mae", "depth/checkerboard", "depth/skill", "joint/skill"}


def test_names_definitions_and_values_go_together(scene, metres):
    assert tuple(values_of(metres, scene(y=[1.0]))) == names(metres) == tuple(definitions(metres))


def test_definitions_tell_metrics_apart(metres):
    by_task = {(name.partition("/")[0], text) for name, text in definitions(metres).items()}
    assert len(by_task) == len(names(metres))


def test_names_are_what_stores_accept(metres):
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_/") for name in names(metres))


def test_direction():
    assert higher_is_better("mask/iou_pooled")
    assert higher_is_better("depth/delta1_per_image")
    assert not higher_is_better("depth/rmse_pooled")


def test_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"^no metric 'depth/rmse_poled'; did you mean 'depth/rmse_pooled'\? Known: "):
        higher_is_better("depth/rmse_poled")


def test_updating_keeps_no_graph(scene, metres):
    prediction, batch = scene(y=[1.0, 2.0])
    prediction.depth.requires_grad_()
    evaluator = Evaluator(metres)
    evaluator.update(prediction, batch)
    assert not any(sums.requires_grad for batches in evaluator.sums.values() for sums in batches)
    assert torch.cat(evaluator.sums["depth/rmse"]).dtype == torch.float64
