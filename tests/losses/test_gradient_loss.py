import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmx.losses.gradient import gradient


def test_by_hand(depth_scene):
    """An error that grows by 1 a column: 1 at full size, 2 with every second pixel, 0 where one pixel is left."""
    error = np.tile(np.arange(4.0), (4, 1))
    assert gradient(*depth_scene(1 + error, np.ones((4, 4))), scales=1).item() == 1
    assert gradient(*depth_scene(1 + error, np.ones((4, 4))), scales=2).item() == 3
    assert gradient(*depth_scene(1 + error, np.ones((4, 4))), scales=4).item() == 3


@given(st.integers(0, 200), st.integers(1, 5))
def test_agrees_with_loops(depth_scene, arrays, seed, scales):
    y, t, valid = arrays(seed)
    expected = 0.0
    for k in range(scales):
        R, known = (y - t)[:, 0, :: 2**k, :: 2**k], valid[:, 0, :: 2**k, :: 2**k]
        for dy, dx in ((0, 1), (1, 0)):
            pairs = [
                abs(R[b, i + dy, j + dx] - R[b, i, j])
                for b, i, j in np.argwhere(known)
                if i + dy < R.shape[1] and j + dx < R.shape[2] and known[b, i + dy, j + dx]
            ]
            expected += np.mean(pairs) if pairs else 0
    assert gradient(*depth_scene(y, t, valid), scales=scales).item() == pytest.approx(expected, abs=1e-10)


@given(st.floats(-5, 5))
def test_an_offset_does_not_matter(depth_scene, arrays, offset):
    y, t, valid = arrays(1)
    one, other = gradient(*depth_scene(y, t, valid)), gradient(*depth_scene(y + offset, t, valid))
    assert other.item() == pytest.approx(one.item(), abs=1e-9)
