"""One transform for the whole sample: everything stays aligned, nothing known is blended."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dmx.data.transform import MEAN, STD, denormalise, make_transform
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


def test_normalisation_by_hand() -> None:
    given_ = quartet(4, 4)
    found = make_transform((4, 4))(given_)
    expected = (given_.image.astype(np.float64) / 255 - MEAN) / STD
    np.testing.assert_allclose(found.image.numpy().transpose(1, 2, 0), expected, atol=1e-5)
    assert found.image.is_contiguous()
    assert torch.equal(denormalise(found.image), torch.from_numpy(given_.image).permute(2, 0, 1))
    assert torch.equal(denormalise(found.image[None]), torch.from_numpy(given_.image).permute(2, 0, 1)[None])


def test_shrinking_averages_pictures_over_their_area() -> None:
    given_ = quartet(8, 8)
    found = denormalise(make_transform((4, 4))(given_).image).numpy().transpose(1, 2, 0)
    mean = given_.image.reshape(4, 2, 4, 2, 3).mean(axis=(1, 3))
    assert np.abs(found - mean).max() <= 0.5 + 1e-3


def test_depth_mask_and_validity_come_from_one_and_the_same_pixel() -> None:
    h, w = 6, 10
    number = np.arange(h * w, dtype=np.float32).reshape(h, w)
    ids = number.astype(int)
    given_ = Quartet(
        "s", "g", np.zeros((h, w, 3), np.uint8), None, (ids % 2).astype(np.uint8), ids % 3 == 0, number, ids % 5 == 0
    )
    found = make_transform((8, 4))(given_)  # no new centre lies on an edge
    picked = found.depth[0].int()
    assert torch.equal(found.mask[0].int(), picked % 2)
    assert torch.equal(found.mask_valid[0], picked % 3 == 0)
    assert torch.equal(found.valid[0], picked % 5 == 0)
    rows = ((np.arange(8) + 0.5) * h / 8).astype(int)  # the pixel in which the new pixel's centre lies
    columns = ((np.arange(4) + 0.5) * w / 4).astype(int)
    assert torch.equal(found.depth[0], torch.from_numpy(number[rows][:, columns]))


@settings(max_examples=25, deadline=None)
@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_no_value_is_made_up(before: tuple[int, int], after: tuple[int, int]) -> None:
    given_ = quartet(*before)
    found = make_transform(after)(given_)
    assert found.image.shape == (3, *after)
    assert found.background is not None
    assert found.background.shape == (3, *after)
    assert set(found.depth.unique().tolist()) <= set(given_.depth.ravel().tolist())
    assert set(found.mask.unique().tolist()) <= {0.0, 1.0}
    assert found.valid.dtype == found.mask_valid.dtype == torch.bool


@pytest.mark.parametrize("background", [True, False])
def test_background_goes_the_way_of_the_image(background: bool) -> None:
    given_ = quartet(12, 9, background=background)
    found = make_transform((7, 5))(given_)
    if not background:
        assert found.background is None
        return
    swapped = Quartet(
        "s", "g", given_.background, given_.image, given_.mask, given_.mask_valid, given_.depth, given_.valid
    )
    other = make_transform((7, 5))(swapped)
    assert found.background is not None
    assert other.background is not None
    assert torch.equal(found.background, other.image)
    assert torch.equal(found.image, other.background)
