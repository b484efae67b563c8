import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmx.losses.silog import silog


def test_by_hand(depth_scene):
    """d = (1, 0): 1/2 - 1/2 · (1/2)²."""
    assert silog(*depth_scene([np.e, 1.0], [1.0, 1.0])).item() == pytest.approx(0.375)


@given(st.integers(0, 1000), st.floats(0, 1))
def test_agrees_with_numpy(depth_scene, arrays, seed, lam):
    y, t, valid = arrays(seed)
    each = []
    for i in range(2):
        d = np.log(y[i][valid[i]]) - np.log(t[i][valid[i]])
        each.append((d**2).sum() / d.size - lam / d.size**2 * d.sum() ** 2)
    assert silog(*depth_scene(y, t, valid), lam=lam).item() == pytest.approx(np.mean(each), abs=1e-12)


@given(st.floats(0.01, 100))
def test_with_lambda_1_a_wrong_scale_is_forgiven(depth_scene, arrays, factor):
    y, t, valid = arrays(3)
    one, other = silog(*depth_scene(y, t, valid), lam=1.0), silog(*depth_scene(factor * y, t, valid), lam=1.0)
    assert other.item() == pytest.approx(one.item(), abs=1e-9)


@pytest.mark.parametrize("depth", [0.0, -1.0])
def test_depth_not_above_zero_is_never_repaired(depth_scene, depth):
    assert not silog(*depth_scene([depth, 1.0], [1.0, 1.0])).isfinite()
