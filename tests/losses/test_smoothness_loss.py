from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kornia.losses import inverse_depth_smoothness_loss

from dmx.losses.smoothness import smoothness


def before(scene, image):
    """The scene with another image."""
    prediction, batch = scene
    return prediction, replace(batch, image=torch.as_tensor(image, dtype=torch.float64))


def test_by_hand(depth_scene):
    """Steps of 1 and 2 in depth, the second at an edge of 1 in the picture, where e^-ln 2 = 1/2 of it counts."""
    scene = depth_scene([1.0, 2.0, 4.0], [9.0, 9.0, 9.0])
    assert smoothness(*scene, edge=np.log(2)).item() == pytest.approx(1.5)
    with_edge = before(scene, [3 * [[[0.0, 0.0, 1.0]]]])
    assert smoothness(*with_edge, edge=np.log(2)).item() == pytest.approx(1.0)


@given(st.integers(0, 1000))
def test_with_the_papers_edge_weight_it_agrees_with_kornia(depth_scene, seed):
    rng = np.random.default_rng(seed)
    y, image = rng.uniform(1, 9, (2, 1, 8, 9)), rng.random((2, 3, 8, 9))
    expected = inverse_depth_smoothness_loss(torch.tensor(y), torch.tensor(image))
    loss = smoothness(*before(depth_scene(y, np.ones_like(y)), image), edge=1.0)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)


@given(st.integers(0, 200), st.floats(0, 30))
def test_agrees_with_loops_over_known_pairs(depth_scene, arrays, seed, edge):
    y, t, valid = arrays(seed)
    image = np.random.default_rng(seed).random((3, 3, *y.shape[2:]))
    expected = 0.0
    for dy, dx in ((0, 1), (1, 0)):
        pairs = [
            abs(y[b, 0, i + dy, j + dx] - y[b, 0, i, j])
            * np.exp(-edge * np.abs(image[b, :, i + dy, j + dx] - image[b, :, i, j]).mean())
            for b, _, i, j in np.argwhere(valid)
            if i + dy < y.shape[2] and j + dx < y.shape[3] and valid[b, 0, i + dy, j + dx]
        ]
        expected += np.mean(pairs)
    assert smoothness(*before(depth_scene(y, t, valid), image), edge=edge).item() == pytest.approx(expected, abs=1e-10)


def test_a_constant_is_perfect_whatever_the_truth(depth_scene, arrays):
    _, t, valid = arrays(0)
    assert smoothness(*depth_scene(np.full_like(t, 3.0), t, valid)).item() == 0
