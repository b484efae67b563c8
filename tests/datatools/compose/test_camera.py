"""The pinhole against numbers worked by hand, and the floor against planes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmx.datatools.compose.composer import middle
from dmx.datatools.compose.placement import Camera, Floor, Scene, Stand, camera_of, cut_out, find_floor, stand


def test_the_kinect_of_nyu_depth_v2() -> None:
    # Silberman's toolbox: fy 519.47 px over 480 rows; 2 atan(240 / 519.47) = 49.6 degrees
    assert camera_of((480, 480), (480, 480), 480, 49.6).f == pytest.approx(519.5, abs=0.5)
    # 426 of these rows, resized to 240 and then to 192
    assert camera_of((192, 192), (240, 240), 240, 44.6).f == pytest.approx(519.47 * 192 / 426, abs=0.5)


def test_cutting_rows_keeps_the_focal_length_and_resizing_scales_it() -> None:
    assert camera_of((100, 100), (100, 100), 200, 90).f == pytest.approx(100)
    halved = camera_of((50, 50), (100, 100), 200, 90)
    assert (halved.f, halved.cx, halved.cy) == (pytest.approx(50), 25, 25)


def test_a_level_floor_is_seen_where_the_equation_says() -> None:
    camera = Camera(100, 50, 50)
    assert Floor(1.5, 0).row(camera, 3) == pytest.approx(100)  # 50 + 100 * 1.5 / 3
    assert Floor(1.5, 0).row(camera, 6) == pytest.approx(75)
    # pitched by 45 degrees, 1 m above: the axis meets the floor at sqrt(2) m
    assert Floor(1.0, math.pi / 4).row(camera, math.sqrt(2)) == pytest.approx(50)


def plane(camera: Camera, height: float, pitch: float, wall: float) -> np.ndarray:
    y = (np.arange(96) + 0.5 - camera.cy) / camera.f
    z = height / np.maximum(y * math.cos(pitch) + math.sin(pitch), 1e-6)
    return np.repeat(np.minimum(z, wall)[:, None], 96, axis=1).astype(np.float32)


@given(height=st.floats(0.8, 1.8), degrees=st.floats(-3, 30), wall=st.floats(4, 8))
def test_the_floor_is_found(height: float, degrees: float, wall: float) -> None:
    camera = Camera(117, 48, 48)
    depth = plane(camera, height, math.radians(degrees), wall)
    if (depth < wall - 0.1).mean() < 0.12:
        return  # hardly any floor in view
    found = find_floor(depth, np.ones(depth.shape, bool), camera)
    assert found is not None
    for z in map(float, np.linspace(depth.min(), depth.min() + 1, 4)):
        assert found.row(camera, z) == pytest.approx(Floor(height, math.radians(degrees)).row(camera, z), abs=6)


def test_a_wall_is_no_floor_and_unknown_depth_is_none() -> None:
    camera = Camera(117, 48, 48)
    depth = np.full((96, 96), 3.0, np.float32)
    assert find_floor(depth, np.ones(depth.shape, bool), camera) is None
    assert find_floor(plane(camera, 1.4, 0.1, 6), np.zeros(depth.shape, bool), camera) is None


def test_an_object_is_as_large_as_its_distance_says_and_stands_on_the_floor() -> None:
    figure = cut_out(np.full((40, 20, 4), 255, np.uint8))
    assert figure is not None
    camera = Camera(100, 50, 50)
    scene = Scene(np.zeros((100, 100, 3), np.uint8), np.full((100, 100), 9, np.float32), np.ones((100, 100), bool))
    limits = Stand((1.8, 1.8), (4.0, 4.0), 0.001)
    found = [stand(scene, figure, camera, Floor(1.2, 0), limits, np.random.default_rng(seed)) for seed in range(20)]
    whole = [one for one in found if one is not None and one.seen == 1]
    assert whole
    for one in whole:
        rows, columns = np.nonzero(one.mask)
        assert rows.max() + 1 == 80  # 50 + 100 * 1.2 / 4
        assert rows.max() + 1 - rows.min() == 45  # 100 * 1.8 / 4
        assert columns.max() + 1 - columns.min() in (22, 23)
        assert set(one.depth[one.mask == 1]) == {np.float32(4)}


def test_behind_a_wall_there_is_no_place() -> None:
    figure = cut_out(np.full((40, 20, 4), 255, np.uint8))
    assert figure is not None
    scene = Scene(np.zeros((100, 100, 3), np.uint8), np.full((100, 100), 2, np.float32), np.ones((100, 100), bool))
    limits = Stand((1.8, 1.8), (3.0, 5.0), 0.001)
    assert stand(scene, figure, Camera(100, 50, 50), None, limits, np.random.default_rng(0)) is None


def test_the_middle_of_the_wanted_shape_is_taken() -> None:
    assert middle(240, 320, (192, 192)) == (slice(0, 240), slice(40, 280))
    assert middle(240, 320, (100, 200)) == (slice(40, 200), slice(0, 320))
    assert middle(5, 5, (8, 8)) == (slice(0, 5), slice(0, 5))
