import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmx.losses.log_l1 import log_l1
from dmx.registry import depth_losses


def test_by_hand(depth_scene):
    """e against 1 is off by 1, 1 against e² by 2."""
    assert log_l1(*depth_scene([np.e, 1.0], [1.0, np.e**2])).item() == pytest.approx(1.5)


@given(st.integers(0, 1000))
def test_agrees_with_numpy(depth_scene, arrays, seed):
    """By ratios: the logarithm of the greater over the smaller one."""
    y, t, valid = arrays(seed)
    expected = np.log(np.maximum(y / t, t / y)[valid]).mean()
    assert log_l1(*depth_scene(y, t, valid)).item() == pytest.approx(expected, abs=1e-12)


@given(st.floats(0.01, 100))
def test_of_a_wrong_scale_it_is_the_scales_logarithm(depth_scene, arrays, factor):
    _, t, valid = arrays(2)
    t = np.where(valid, t, 1)
    assert log_l1(*depth_scene(factor * t, t, valid)).item() == pytest.approx(abs(np.log(factor)), abs=1e-9)


@pytest.mark.parametrize("depth", [0.0, -1.0])
def test_depth_not_above_zero_is_never_repaired(depth_scene, depth):
    assert not log_l1(*depth_scene([depth, 1.0], [1.0, 1.0])).isfinite()


def test_is_offered_where_depth_is_above_zero_only():
    facts = depth_losses["log_l1"].facts
    assert (facts["kinds"], facts["needs"]) == (("metric",), depth_losses["silog"].facts["needs"])
