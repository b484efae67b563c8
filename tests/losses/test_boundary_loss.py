import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from dmx.losses.boundary import boundary
from dmx.registry import mask_losses


def test_by_hand(mask_scene):
    """Distances to the outline 3/2, 1/2, 1/2, 3/2, and every pixel is half wrong."""
    assert boundary(*mask_scene([0.0] * 4, [1, 1, 0, 0])).item() == pytest.approx(0.5)


def signed_distance(g: np.ndarray) -> np.ndarray:
    """φ of the paper, negative inside, with the outline halfway between pixels."""
    return np.where(g == 1, 0.5 - distance_transform_edt(g), distance_transform_edt(1 - g) - 0.5)


@given(st.integers(0, 1000))
def test_is_the_papers_less_its_least_value(mask_scene, masks, seed):
    """And the gradient is the paper's own; distances by scipy."""
    z, g, _ = masks(seed)
    z, g = z[:2], g[:2]
    g[np.isnan(g)] = 0
    phi = torch.tensor(np.stack([signed_distance(one[0])[None] for one in g]))
    leaf = torch.tensor(z, requires_grad=True)
    paper = (phi * leaf.sigmoid()).mean()
    paper.backward()
    prediction, batch = mask_scene(z, g)
    prediction.mask_logits.requires_grad_()
    loss = boundary(prediction, batch)
    loss.backward()
    assert loss.item() == pytest.approx(paper.item() - (phi * torch.tensor(g)).mean().item(), abs=1e-6)
    torch.testing.assert_close(prediction.mask_logits.grad, leaf.grad, rtol=1e-6, atol=1e-9)


@given(st.integers(0, 200))
def test_unknown_pixels_are_no_outline(mask_scene, masks, seed):
    """Each known pixel against all known ones of the other kind, in loops."""
    z, g, valid = masks(seed)
    costs = []
    for b, _, i, j in np.argwhere(valid):
        others = [abs(complex(k - i, m - j)) for k, m in np.argwhere(valid[b, 0]) if g[b, 0, k, m] != g[b, 0, i, j]]
        costs.append((min(others) - 0.5) * abs(1 / (1 + np.exp(-z[b, 0, i, j])) - g[b, 0, i, j]))
    assert boundary(*mask_scene(z, g, valid)).item() == pytest.approx(np.mean(costs), abs=1e-6)


@pytest.mark.parametrize("g", [0, 1])
def test_without_an_outline_it_costs_nothing(mask_scene, g):
    prediction, batch = mask_scene([3.0, -3.0], [g, g])
    prediction.mask_logits.requires_grad_()
    loss = boundary(prediction, batch)
    loss.backward()
    assert loss.item() == 0
    assert (prediction.mask_logits.grad == 0).all()
    assert mask_losses["boundary"].facts["term"] is True
