"""Blending, occlusion and depth against numbers worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmx.datatools.compose.placement import Cutout, Place, Scene, blend, cut_out


def scene(depth: np.ndarray | None = None, value: int = 100) -> Scene:
    shape = (8, 10) if depth is None else depth.shape
    picture = np.full((*shape, 3), value, np.uint8)
    if depth is None:
        return Scene(picture, np.zeros(shape, np.float32), np.zeros(shape, bool))
    return Scene(picture, depth.astype(np.float32), np.isfinite(depth))


def square(alpha: int = 255, side: int = 4) -> Cutout:
    rgba = np.full((side, side, 4), (200, 50, 0, 255), np.uint8)
    rgba[:, 0, 3] = alpha
    found = cut_out(rgba)
    assert found is not None
    return found


def test_an_edge_of_half_alpha_blends_both_colours_in_srgb() -> None:
    composed = blend(scene(), square(alpha=102), Place(1.0, 6, 5.5, None))  # alpha 0.4 in the first column
    # box: columns 1..3 of the cut-out, its middle 2.5 at column 5.5: the layer begins at column 3
    assert composed.image[2, 3].tolist() == [140, 80, 60]  # 0.4 * (200, 50, 0) + 0.6 * 100
    assert composed.image[2, 4].tolist() == [200, 50, 0]
    assert composed.image[2, 2].tolist() == [100, 100, 100]
    assert composed.mask[2].tolist() == [0, 0, 0, 0, 1, 1, 1, 0, 0, 0]  # alpha 0.4 is no object
    assert composed.mask[:, 4].tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
    assert composed.seen == 1.0
    assert not composed.valid.any()


def test_what_is_nearer_hides_and_what_is_unknown_does_not() -> None:
    depth = np.full((8, 10), 5.0)
    depth[:, :5] = 2.0  # a step, fronto-parallel
    depth[3, 7] = np.nan
    composed = blend(scene(depth), square(), Place(1.0, 6, 5, 3.0))  # columns 3 to 6, two of them behind the step
    assert composed.mask[2].tolist() == [0, 0, 0, 0, 0, 1, 1, 0, 0, 0]
    assert composed.image[2, 4].tolist() == [100, 100, 100]
    assert composed.seen == 0.5
    assert composed.depth[2].tolist() == [2, 2, 2, 2, 2, 3, 3, 5, 5, 5]
    assert composed.valid.sum() == 79
    moved = blend(scene(depth), square(), Place(1.0, 6, 8, 3.0))  # columns 6 to 9: over the unknown pixel
    assert moved.mask[3, 7] == 1
    assert moved.depth[3, 7] == 3
    assert moved.valid.all()


def test_equal_depth_shows_the_object() -> None:
    assert blend(scene(np.full((8, 10), 3.0)), square(), Place(1.0, 6, 5, 3.0)).seen == 1.0


@given(
    z=st.floats(1, 9),
    row=st.floats(-5, 20),
    column=st.floats(-5, 15),
    scale=st.floats(0.2, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_depth_is_that_of_the_object_in_the_mask_and_that_of_the_scene_elsewhere(
    z: float, row: float, column: float, scale: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    depth = rng.uniform(1, 9, (8, 10))
    depth[rng.random(depth.shape) < 0.1] = np.nan
    before = scene(depth)
    composed = blend(before, square(alpha=90), Place(scale, row, column, z))
    on = composed.mask == 1
    np.testing.assert_array_equal(composed.depth[on], np.float32(z))
    np.testing.assert_array_equal(composed.depth[~on], before.depth[~on])
    np.testing.assert_array_equal(composed.valid, before.valid | on)
    nearer = before.valid & (before.depth < z)
    assert not on[nearer].any()
    np.testing.assert_array_equal(composed.image[nearer], before.picture[nearer])


def test_colours_under_transparent_pixels_do_not_bleed_into_edges() -> None:
    rgba = np.full((20, 20, 4), (0, 255, 0, 0), np.uint8)  # green where nothing is
    rgba[5:15, 5:15] = (200, 0, 0, 255)
    figure = cut_out(rgba)
    assert figure is not None
    for scale in (0.37, 1.6):
        composed = blend(scene(np.full((30, 30), 9.0), value=0), figure, Place(scale, 25, 15, 2.0))
        assert composed.mask.any()
        assert composed.image[..., 1].max() == 0


def test_a_haze_far_from_the_object_is_dropped() -> None:
    rgba = np.full((60, 60, 4), (255, 255, 255, 63), np.uint8)
    rgba[20:40, 20:40, 3] = 255
    figure = cut_out(rgba)
    assert figure is not None
    assert figure.box == (20, 40, 20, 40)
    assert figure.layer[30, 41:, 3].max() == 0
    assert figure.layer[30, 40, 3] == pytest.approx(63 / 255)


def test_mirrored_is_mirrored() -> None:
    figure = square(alpha=0)
    assert figure.box == (0, 4, 1, 4)
    assert figure.mirrored().box == (0, 4, 0, 3)
    np.testing.assert_array_equal(figure.mirrored().layer, figure.layer[:, ::-1])


def test_nothing_opaque_is_no_cutout() -> None:
    assert cut_out(np.full((4, 4, 4), 127, np.uint8)) is None
