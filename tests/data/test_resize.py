"""One size for the whole sample: everything stays aligned, nothing known is blended."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmx.data.resize import resize, resize_picture
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
        "s", "g", np.zeros((h, w, 3), np.uint8), None, (ids % 2).astype(np.uint8), ids % 3 == 0, number, ids % 5 == 0
    )
    found = resize(given_, (8, 4))  # no new centre lies on an edge
    picked = found.depth.astype(int)
    np.testing.assert_array_equal(found.mask, picked % 2)
    np.testing.assert_array_equal(found.mask_valid, picked % 3 == 0)
    np.testing.assert_array_equal(found.valid, picked % 5 == 0)
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
