import numpy as np
import pytest
import torch

from dmx.quartet import Batch, DepthSpec, Prediction
from dmx.tracking.panel import GAP, HEADER, SIDE, UNKNOWN, panel

METRIC = DepthSpec("metric", 0.5, 10.0)


def sample(count=2, side=32):
    """Pictures of one colour; depth grows from left to right, 1 to 3 m; the object fills the upper half."""
    image = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1).expand(count, 3, side, side).clone()
    mask = torch.zeros(count, 1, side, side)
    mask[:, :, : side // 2] = 1
    depth = torch.linspace(1, 3, side).expand(count, 1, side, side).clone()
    known = torch.ones(count, 1, side, side, dtype=torch.bool)
    ids = tuple(str(index) for index in range(count))
    return Batch(ids, image, None, mask, known, depth, known.clone())


def cell(picture, row, column, side=SIDE):
    top, left = HEADER + row * (side + GAP), column * (side + GAP)
    return picture[top : top + side, left : left + side].astype(int)


def red_minus_blue(pixels):
    return (pixels[..., 0] - pixels[..., 2]).mean()


def test_a_perfect_prediction_looks_like_the_truth_and_has_no_error():
    batch = sample()
    picture = panel(batch, Prediction(batch.mask * 2 - 1, batch.depth), METRIC)
    assert picture.shape == (HEADER + 2 * SIDE + GAP, 6 * SIDE + 5 * GAP, 3)
    assert picture.dtype == np.uint8
    assert (cell(picture, 0, 0) == (51, 102, 153)).all()
    for row in range(2):
        np.testing.assert_array_equal(cell(picture, row, 1), cell(picture, row, 2))
        np.testing.assert_array_equal(cell(picture, row, 3), cell(picture, row, 4))
        assert len(np.unique(cell(picture, row, 5).reshape(-1, 3), axis=0)) == 1
    assert (cell(picture, 0, 1)[: SIDE // 2] == 255).all()
    assert (cell(picture, 0, 1)[SIDE // 2 :] == 0).all()


@pytest.mark.parametrize(("spec", "left_is_near"), [(METRIC, True), (DepthSpec("relative", 0.0, 5.0, "high"), False)])
def test_near_is_warm(spec, left_is_near):
    batch = sample()
    depth = cell(panel(batch, Prediction(batch.mask, batch.depth), spec), 0, 3)
    left, right = depth[:, SIDE // 8 : SIDE // 4], depth[:, -SIDE // 4 : -SIDE // 8]
    assert (red_minus_blue(left) > 50) == left_is_near
    assert (red_minus_blue(right) < -50) == left_is_near


def test_an_error_of_a_quarter_of_the_range_is_red_and_of_an_eighth_is_not():
    batch = sample()
    depth = batch.depth.clone()
    depth[..., :16, :] += 0.5  # the range is 2 m
    depth[..., 16:, :] -= 0.25
    error = cell(panel(batch, Prediction(batch.mask, depth), METRIC), 0, 5)
    assert red_minus_blue(error[: SIDE // 2]) > 80
    assert abs(red_minus_blue(error[SIDE // 2 :])) < 120
    assert error[SIDE // 2 :, :, 1].mean() > 200  # green, the middle of the map


def test_unknown_is_grey_and_only_unknown():
    batch = sample()
    batch.valid[0, :, :, :8] = False
    batch.mask_valid[0, :, :8] = False
    depth = batch.depth.clone()
    depth[1, 0, 0, 0] = float("nan")
    picture = panel(batch, Prediction(batch.mask, depth), METRIC)
    grey = [[(cell(picture, row, column) == UNKNOWN).all(axis=2).mean() for column in range(6)] for row in range(2)]
    assert grey[0] == [0, 0.25, 0, 0.25, 0, 0.25]
    assert grey[1] == [0, 0, 0, 0, 1 / 1024, 1 / 1024]


def test_a_sample_without_any_known_depth_can_be_shown():
    batch = sample()
    batch.valid[:] = False
    batch.depth[:] = float("nan")
    picture = panel(batch, Prediction(batch.mask, torch.full_like(batch.depth, 5.0)), METRIC)
    assert (cell(picture, 0, 3) == UNKNOWN).all()
    assert not (cell(picture, 0, 4) == UNKNOWN).all(axis=2).any()


def test_rows_are_at_most_those_asked_for_and_large_pictures_keep_their_size():
    batch = sample(count=6, side=160)
    picture = panel(batch, Prediction(batch.mask.clone().requires_grad_(), batch.depth), METRIC, rows=3)
    assert picture.shape == (HEADER + 3 * 160 + 2 * GAP, 6 * 160 + 5 * GAP, 3)


def test_titles_stand_above_their_columns_and_do_not_touch():
    batch = sample()
    head = panel(batch, Prediction(batch.mask, batch.depth), METRIC)[:HEADER]
    for column in range(6):
        part = head[:, column * (SIDE + GAP) : (column + 1) * (SIDE + GAP)]
        assert (part < 100).any()
        assert (part[:, -3:] == 255).all()
