import math

import pytest
import torch

from dmx.errors import UserError
from dmx.weighting.fixed import fixed
from dmx.weighting.uncertainty import uncertainty

LOSSES = {"mask": torch.tensor(2.0), "depth": torch.tensor(3.0)}


def test_fixed_by_hand():
    assert fixed(("mask", "depth"), mask=0.5, depth=2.0)(LOSSES).item() == 7


def test_fixed_has_nothing_to_learn():
    assert not list(fixed(("mask", "depth")).parameters())


def test_all_weights_zero_is_refused():
    with pytest.raises(UserError) as caught:
        fixed(("mask", "depth"), mask=0.0, depth=0.0)
    assert str(caught.value) == (
        "weighting 'fixed' gives weight 0 to mask and depth, so nothing would be trained; raise one."
    )


def test_uncertainty_starts_with_the_papers_constants():
    """Eq. 10 with σ = 1: the classification counts whole, the regression half."""
    weighting = uncertainty(("mask", "depth"))
    assert weighting(LOSSES).item() == 2 + 3 / 2
    assert weighting.weights() == {"mask": 1.0, "depth": 0.5}


def test_uncertainty_by_hand():
    weighting = uncertainty(("mask", "depth"))
    with torch.no_grad():
        weighting.s["mask"].fill_(math.log(4))
    assert weighting(LOSSES).item() == pytest.approx(2 / 4 + math.log(4) / 2 + 3 / 2)
    assert weighting.weights()["mask"] == pytest.approx(1 / 4)


def test_uncertainty_learns_the_losses_scale():
    """For constant losses the optimum is σ² = 2 c L: 4 for the mask, 3 for the depth."""
    weighting = uncertainty(("mask", "depth"))
    optimizer = torch.optim.Adam(weighting.parameters(), lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        weighting(LOSSES).backward()
        optimizer.step()
    assert weighting.s["mask"].exp().item() == pytest.approx(4, rel=1e-3)
    assert weighting.s["depth"].exp().item() == pytest.approx(3, rel=1e-3)
