"""The figures that tell whether a quartet is in context, by hand and on spoilt pictures."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmx.datatools.check.comparison import compare_background, difference, verdict


def quartet(seed: int, size: int = 64, apart: int = 90) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A textured scene, the same with a textured disc in it, the disc's mask, and where that is known."""
    rng = np.random.default_rng(seed)
    background = cv2.GaussianBlur(rng.integers(60, 190, (size, size, 3), np.uint8), (0, 0), 3)
    background = cv2.normalize(background, np.empty_like(background), 30, 160, cv2.NORM_MINMAX)
    mask = np.zeros((size, size), np.uint8)
    cv2.circle(mask, (size // 4, size // 3), size // 6, (1,), -1)
    image = np.where(mask[..., None] > 0, background + np.uint8(apart), background)
    return image, background, mask, np.ones((size, size), bool)


def jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    found = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    assert found is not None
    return found


def test_figures_by_hand() -> None:
    """Flat pictures: 100 outside, but 10 more in the right half of the image; 250 in the mask of 8x8."""
    background = np.full((32, 32, 3), 100, np.uint8)
    image = background.copy()
    image[:, 16:] = 110
    mask = np.zeros((32, 32), np.uint8)
    mask[12:20, 4:12] = 1
    image[mask > 0] = 250
    found = compare_background(image, background, mask, np.ones((32, 32), bool))
    assert found is not None
    # 10 in 15 columns, 7.5 and 2.5 where the blur crosses the step; the mask and one pixel around it are left out
    assert found.outside == pytest.approx((32 * 15 * 10 + 32 * 7.5 + 32 * 2.5) / (32 * 32 - 100), abs=0.1)
    assert (found.middle, found.found, found.explained, found.likeness) == (10.0, 1.0, 1.0, 1.0)


def test_the_difference_is_that_of_the_channel_that_differs_most() -> None:
    one, other = np.full((8, 8, 3), 50, np.uint8), np.full((8, 8, 3), 50, np.uint8)
    other[..., 1] = 20
    other[..., 2] = 90
    assert (difference(one, other) == 40).all()


@given(st.integers(0, 10_000), st.sampled_from([95, 75, 50]), st.sampled_from([64, 96]), st.integers(50, 90))
def test_compression_is_not_blamed(seed: int, quality: int, size: int, apart: int) -> None:
    image, background, mask, known = quartet(seed, size, apart)
    found = compare_background(jpeg(image, quality), background, mask, known)
    assert found is not None
    assert verdict(found) is None


@given(st.integers(0, 10_000))
def test_spoilt_contexts_are_told(seed: int) -> None:
    image, background, mask, known = quartet(seed)
    other = quartet(seed + 1)[1]

    def kind(*pictures: np.ndarray) -> str | None:
        found = compare_background(*pictures, known)
        assert found is not None
        said = verdict(found)
        return None if said is None else said[0]

    assert kind(image, background, mask) is None
    assert kind(image, other, mask) == "background-differs"
    assert kind(image, np.roll(background, 8, axis=1), mask) == "background-differs"
    assert kind(image, background, np.ascontiguousarray(mask[:, ::-1])) == "mask-misplaced"
    assert kind(background, background, mask) == "mask-misplaced"  # no object


def test_unknown_pixels_of_the_mask_are_left_out() -> None:
    image, background, mask, known = quartet(0)
    image[:, 40:] = 255 - image[:, 40:]
    known[:, 38:] = False
    found = compare_background(image, background, mask, known)
    assert found is not None
    assert verdict(found) is None


def test_nothing_is_said_of_a_mask_that_leaves_too_little() -> None:
    image, background, mask, known = quartet(0)
    assert compare_background(image, background, np.ones_like(mask), known) is None
    small = np.zeros_like(mask)
    small[3:6, 3:6] = 1
    assert compare_background(image, background, small, known) is None


def test_the_texts() -> None:
    image, background, mask, known = quartet(0)
    flipped = compare_background(image, background, np.ascontiguousarray(mask[:, ::-1]), known)
    assert flipped is not None
    assert verdict(flipped) == (
        "mask-misplaced",
        "only 0% of the mask's inside differs between image and background, and 0% of what differs lies in the mask; "
        "the mask is shifted, flipped or another sample's: restore it or take the sample out",
        1.0,
    )
    brighter = compare_background(background + np.uint8(30), background, mask, known)
    assert brighter is not None
    said = verdict(brighter)
    assert said is not None
    assert said[1].startswith(
        "outside of the mask image and background differ by 30.0 grey levels on average (correlation 1.00), and "
    )
    assert said[1].endswith(
        "the background is another scene, shifted or flipped, or the mask leaves out part of the object: restore them "
        "or take the sample out"
    )
