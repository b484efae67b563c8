import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import huber as scipy_huber

from dmx.losses.huber import huber
from dmx.losses.l1 import l1
from dmx.losses.l2 import l2


def test_by_hand(depth_scene):
    """Errors 1 and 3, δ = 2: 1/2 and 2 · (3 - 1)."""
    assert huber(*depth_scene([2.0, 4.0], [1.0, 1.0]), delta=2.0).item() == 2.25


@given(st.integers(0, 1000), st.floats(0.01, 10))
def test_agrees_with_scipy(depth_scene, arrays, seed, delta):
    y, t, valid = arrays(seed)
    expected = scipy_huber(delta, (y - t)[valid]).mean()
    assert huber(*depth_scene(y, t, valid), delta=delta).item() == pytest.approx(expected, abs=1e-10)


@given(st.integers(0, 1000), st.floats(0.01, 10))
def test_lies_below_both_that_it_joins(depth_scene, arrays, seed, delta):
    scene = depth_scene(*arrays(seed))
    assert huber(*scene, delta=delta) <= torch.minimum(l2(*scene) / 2, delta * l1(*scene)) * (1 + 1e-12)


def test_an_outlier_pulls_no_harder_than_an_error_of_delta(depth_scene):
    prediction, batch = depth_scene([1.1, 100.0], [1.0, 1.0])
    prediction.depth.requires_grad_()
    huber(prediction, batch, delta=0.1).backward()
    assert prediction.depth.grad.flatten().tolist() == pytest.approx([0.05, 0.05])
