import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmx.losses.berhu import berhu


def test_by_hand(depth_scene):
    """Errors 1 and 5: c = 1, so 1 and (25 + 1) / 2."""
    assert berhu(*depth_scene([2.0, 6.0], [1.0, 1.0])).item() == 7


@given(st.integers(0, 1000), st.floats(0.05, 1))
def test_agrees_with_numpy(depth_scene, arrays, seed, threshold):
    y, t, valid = arrays(seed)
    x = np.abs(y - t)[valid]
    c = threshold * x.max()
    expected = np.mean([e if e <= c else (e**2 + c**2) / (2 * c) for e in x])
    assert berhu(*depth_scene(y, t, valid), threshold=threshold).item() == pytest.approx(expected, abs=1e-9)


@given(st.floats(1e-6, 1e6))
def test_scales_with_the_unit(depth_scene, factor):
    y, t = np.array([1.0, 4.0, 2.5]), np.array([2.0, 1.0, 2.6])
    small, large = berhu(*depth_scene(y, t)), berhu(*depth_scene(factor * y, factor * t))
    assert large.item() == pytest.approx(factor * small.item(), rel=1e-9)


def test_the_worst_pixel_is_pulled_towards_the_truth(depth_scene):
    """With a gradient through c it would be pushed away: many middling errors outweigh it."""
    prediction, batch = depth_scene([11.0] + [9.0] * 50, [1.0] * 51)
    prediction.depth.requires_grad_()
    berhu(prediction, batch).backward()
    assert (prediction.depth.grad > 0).all()


def test_perfect_is_zero_with_zero_gradient(depth_scene):
    prediction, batch = depth_scene([1.0, 2.0], [1.0, 2.0])
    prediction.depth.requires_grad_()
    loss = berhu(prediction, batch)
    loss.backward()
    assert loss.item() == 0
    assert (prediction.depth.grad == 0).all()
