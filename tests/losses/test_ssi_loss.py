from math import ceil
from statistics import median_low

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmx.losses.ssi import ssi


def test_by_hand(depth_scene):
    """y is (-1, 0, 1) and t (-1, 0, 4) about their medians; scaled by 2/3 and 5/3, the errors are 0.9, 0 and 0.9."""
    scene = depth_scene([1.0, 2.0, 3.0], [2.0, 3.0, 7.0])
    assert ssi(*scene, trim=0.0).item() == pytest.approx((0.9 + 0.9) / 6)
    assert ssi(*scene, trim=0.34).item() == pytest.approx(0.9 / 6)


def aligned(d: np.ndarray) -> np.ndarray:
    centred = d - median_low(d.tolist())
    return centred / np.abs(centred).mean()


@given(st.integers(0, 1000), st.floats(0, 0.9))
def test_agrees_with_numpy(depth_scene, arrays, seed, trim):
    y, t, valid = arrays(seed)
    each = []
    for i in range(2):
        errors = np.sort(np.abs(aligned(y[i][valid[i]]) - aligned(t[i][valid[i]])))
        each.append(errors[: ceil((1 - trim) * errors.size)].sum() / (2 * errors.size))
    assert ssi(*depth_scene(y, t, valid), trim=trim).item() == pytest.approx(np.mean(each), abs=1e-10)


@given(st.floats(0.01, 100), st.floats(-10, 10))
def test_scale_and_offset_do_not_matter(depth_scene, arrays, scale, offset):
    y, t, valid = arrays(1)
    one, other = ssi(*depth_scene(y, t, valid)), ssi(*depth_scene(scale * y + offset, t, valid))
    assert other.item() == pytest.approx(one.item(), rel=1e-9)
    exact = ssi(*depth_scene(scale * np.where(valid, t, 0) + offset, t, valid))
    assert exact.item() == pytest.approx(0, abs=1e-9)


def test_far_for_near_is_not_forgiven(depth_scene, arrays):
    """A least-squares fit would turn it round and find it perfect."""
    _, t, valid = arrays(1)
    assert ssi(*depth_scene(-np.where(valid, t, 0), t, valid)).item() > 0.5


def test_a_flat_prediction_has_a_finite_gradient(depth_scene, arrays):
    _, t, valid = arrays(1)
    prediction, batch = depth_scene(np.full_like(t, 2.0), t, valid)
    prediction.depth.requires_grad_()
    loss = ssi(prediction, batch)
    loss.backward()
    assert loss.item() > 0
    assert prediction.depth.grad.isfinite().all()
    assert prediction.depth.grad.abs().sum() > 0
