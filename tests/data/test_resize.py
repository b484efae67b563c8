"""One size for the whole sample: everything stays aligned, nothing known is blended."""

from dataclasses import replace
from fractions import Fraction
from math import floor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmx.data.planes import resize_known, resize_picture, resize_plane
from dmx.data.resize import resize
from dmx.quartet import Quartet


def quartet(h: int, w: int, *, background: bool = True) -> Quartet:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (h, w, 3), np.uint8)
    return Quartet(
        id="s",
        group="g",
        image=picture,
        background=rng.integers(0, 256, (h, w, 3), np.uint8) if background else None,
        mask=rng.integers(0, 2, (h, w), np.uint8),
        mask_valid=rng.random((h, w)) < 0.8,
        depth=rng.uniform(1, 9, (h, w)).astype(np.float32),
        valid=rng.random((h, w)) < 0.8,
    )


def test_shrinking_averages_pictures_over_their_area() -> None:
    given_ = quartet(8, 8)
    found = resize(given_, (4, 4)).image
    mean = given_.image.reshape(4, 2, 4, 2, 3).mean(axis=(1, 3))
    assert np.abs(found - mean).max() <= 0.5


@pytest.mark.parametrize("width", [8, 16, 21])
def test_the_side_that_shrinks_is_averaged_while_the_other_grows(width: int) -> None:
    picture = quartet(32, 8).image
    mean = picture.reshape(4, 8, 8, 3).mean(axis=1)
    centres = (np.arange(width) + 0.5) * 8 / width - 0.5
    expected = np.apply_along_axis(lambda line: np.interp(centres, np.arange(8), line), 1, mean)
    assert np.abs(resize_picture(picture, (4, width)) - expected).max() <= 1
    assert np.abs(resize_picture(picture.swapaxes(0, 1).copy(), (width, 4)) - expected.swapaxes(0, 1)).max() <= 1


def test_depth_mask_and_validity_come_from_one_and_the_same_pixel() -> None:
    h, w = 6, 10
    number = np.arange(h * w, dtype=np.float32).reshape(h, w)
    ids = number.astype(int)
    given_ = Quartet(
        "s", "g", np.zeros((h, w, 3), np.uint8), None, (ids % 2).astype(np.uint8), ids % 3 == 0, number, ids >= 0
    )
    found = resize(given_, (8, 4))  # no new centre lies on an edge
    picked = found.depth.astype(int)
    np.testing.assert_array_equal(found.mask, picked % 2)
    np.testing.assert_array_equal(found.mask_valid, picked % 3 == 0)
    assert found.valid.all()
    rows = ((np.arange(8) + 0.5) * h / 8).astype(int)  # the pixel in which the new pixel's centre lies
    columns = ((np.arange(4) + 0.5) * w / 4).astype(int)
    np.testing.assert_array_equal(found.depth, number[rows][:, columns])


@settings(max_examples=25, deadline=None)
@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_no_value_is_made_up(before: tuple[int, int], after: tuple[int, int]) -> None:
    given_ = quartet(*before)
    found = resize(given_, after)
    assert found.image.shape == (*after, 3)
    assert found.background is not None
    assert found.background.shape == (*after, 3)
    assert set(found.depth.ravel().tolist()) <= set(given_.depth.ravel().tolist())
    assert set(found.mask.ravel().tolist()) <= {0, 1}
    assert found.valid.dtype == found.mask_valid.dtype == bool


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_new_pixel_is_known_where_any_pixel_in_it_is(data: st.DataObject) -> None:
    h, w = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 30))
    size = data.draw(st.integers(1, h)), data.draw(st.integers(1, w))
    share = data.draw(st.sampled_from([0.01, 0.1, 0.5, 0.9]))
    known = np.random.default_rng(data.draw(st.integers(0, 99))).random((h, w)) < share
    number = np.arange(h * w).reshape(h, w)
    found, there = resize_known(number, known, size)
    nearest = resize_plane(number, size)
    centres = [[Fraction(2 * i + 1, 2) * new / old for i in range(old)] for old, new in zip((h, w), size, strict=True)]
    for y, x in np.ndindex(*size):
        inside = [
            (abs(v - y - Fraction(1, 2)) / size[0] * h, abs(u - x - Fraction(1, 2)) / size[1] * w, number[i, j])
            for i, v in enumerate(centres[0])
            if floor(v) == y
            for j, u in enumerate(centres[1])
            if floor(u) == x and known[i, j]
        ]
        assert there[y, x] == bool(inside)
        if inside:
            apart = {one: a**2 + b**2 for a, b, one in inside}
            assert found[y, x] in apart
            assert apart[found[y, x]] == min(apart.values()) or nearest[y, x] == found[y, x]


@settings(max_examples=40, deadline=None)
@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_what_is_known_where_it_is_nearest_stays_what_it_was(before: tuple[int, int], after: tuple[int, int]) -> None:
    given_ = quartet(*before)
    size = (after[1], after[0])
    nearest = cv2.resize(given_.depth, size, interpolation=cv2.INTER_NEAREST_EXACT)
    known = cv2.resize(given_.valid.view(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT).view(bool)
    found = resize(given_, after)
    assert found.valid[known].all()
    np.testing.assert_array_equal(found.depth[known], nearest[known])
    dense = resize(replace(given_, valid=np.ones(before, bool)), after)
    np.testing.assert_array_equal(dense.depth, nearest)
    assert dense.valid.all()
    if after[0] >= before[0] and after[1] >= before[1]:
        np.testing.assert_array_equal(found.valid, known)


@pytest.mark.parametrize("kind", "?bBhHiIlLefd")
def test_every_type_of_value_is_moved_as_it_is(kind: str) -> None:
    plane = (np.random.default_rng(0).random((20, 30)) * 100).astype(kind)
    found = resize_plane(plane, (7, 41))
    assert found.dtype == plane.dtype
    expected = cv2.resize(plane.astype(np.float64), (41, 7), interpolation=cv2.INTER_NEAREST_EXACT)
    np.testing.assert_array_equal(found, expected.astype(kind))


def test_two_points_of_a_lidar_are_left_after_resizing() -> None:
    depth, valid = np.zeros((240, 320), np.float32), np.zeros((240, 320), bool)
    depth[1, 1], depth[-2, -2] = 1.5, 4.5
    valid[1, 1] = valid[-2, -2] = True
    found, there = resize_known(depth, valid, (32, 32))
    assert np.argwhere(there).tolist() == [[0, 0], [31, 31]]
    assert found[there].tolist() == [1.5, 4.5]


@pytest.mark.parametrize("background", [True, False])
def test_background_goes_the_way_of_the_image(background: bool) -> None:
    given_ = quartet(12, 9, background=background)
    found = resize(given_, (7, 5))
    if not background:
        assert found.background is None
        return
    swapped = Quartet(
        "s", "g", given_.background, given_.image, given_.mask, given_.mask_valid, given_.depth, given_.valid
    )
    other = resize(swapped, (7, 5))
    assert found.background is not None
    assert other.background is not None
    np.testing.assert_array_equal(found.background, other.image)
    np.testing.assert_array_equal(found.image, other.background)


def test_what_has_the_size_already_is_left_alone() -> None:
    given_ = quartet(5, 6)
    assert resize(given_, (5, 6)) is given_
