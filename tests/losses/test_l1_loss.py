import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmx.losses.l1 import l1


def test_by_hand(depth_scene):
    assert l1(*depth_scene([1.0, 3.0], [2.0, 1.0])).item() == 1.5


@given(st.integers(0, 1000))
def test_agrees_with_numpy(depth_scene, arrays, seed):
    y, t, valid = arrays(seed)
    assert l1(*depth_scene(y, t, valid)).item() == pytest.approx(np.nanmean(np.abs(y - t)), abs=1e-12)
