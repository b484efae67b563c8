import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmx.losses.normals import normals


def test_by_hand(depth_scene):
    """A slope of 45 degrees against a flat wall: 1 - cos 45°."""
    slope = np.tile(np.arange(4.0), (3, 1))
    assert normals(*depth_scene(1 + slope, np.ones((3, 4))), steepness=1.0).item() == pytest.approx(1 - 0.5**0.5)
    assert normals(*depth_scene(1 + 0.1 * slope, np.ones((3, 4))), steepness=10.0).item() == pytest.approx(1 - 0.5**0.5)


@given(st.integers(0, 200), st.floats(0.1, 30))
def test_agrees_with_cross_products_of_tangents(depth_scene, arrays, seed, steepness):
    y, t, valid = arrays(seed)

    def normal(d: np.ndarray, i: int, j: int) -> np.ndarray:
        right = np.array([1, 0, steepness * (d[i, j + 1] - d[i, j])])
        down = np.array([0, 1, steepness * (d[i + 1, j] - d[i, j])])
        n = np.cross(right, down)
        return n / np.linalg.norm(n)

    costs = [
        1 - normal(y[b, 0], i, j) @ normal(t[b, 0], i, j)
        for b, _, i, j in np.argwhere(valid[:, :, :-1, :-1])
        if valid[b, 0, i, j + 1] and valid[b, 0, i + 1, j]
    ]
    assert normals(*depth_scene(y, t, valid), steepness=steepness).item() == pytest.approx(np.mean(costs), abs=1e-9)


@given(st.floats(-5, 5))
def test_an_offset_does_not_matter(depth_scene, arrays, offset):
    y, t, valid = arrays(1)
    one, other = normals(*depth_scene(y, t, valid)), normals(*depth_scene(y + offset, t, valid))
    assert other.item() == pytest.approx(one.item(), abs=1e-9)


def test_small_tilts_are_not_lost_in_rounding(depth_scene):
    """cos of 10⁻⁵ is 1 in float32; the loss is half its square."""
    prediction, batch = depth_scene(np.tile(1e-5 * np.arange(4.0), (3, 1)), np.zeros((3, 4)))
    narrow = type(prediction)(prediction.mask_logits, prediction.depth.float())
    loss = normals(narrow, type(batch)(**{**vars(batch), "depth": batch.depth.float()}), steepness=1.0)
    assert loss.item() == pytest.approx(0.5e-10, rel=1e-3)
