import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gmean

from dmx.weighting.gls import gls

losses = st.floats(1e-3, 1e3)


def test_by_hand():
    weighting = gls(("mask", "depth"))
    assert weighting({"mask": torch.tensor(2.0), "depth": torch.tensor(8.0)}).item() == pytest.approx(4)
    assert weighting.weights() == pytest.approx({"mask": 1, "depth": 1 / 4})


@given(st.lists(losses, min_size=1, max_size=5))
def test_is_the_geometric_mean(values):
    names = [str(i) for i in range(len(values))]
    given = {name: torch.tensor(value, dtype=torch.float64) for name, value in zip(names, values, strict=True)}
    assert gls(names)(given).item() == pytest.approx(gmean(values), rel=1e-12)


@given(losses, losses, st.floats(0.01, 100))
def test_a_losss_scale_changes_no_direction(mask, depth, factor):
    """With L_depth times f, all gradients are times √f: the weight of depth falls as much as its loss grows."""
    weighting, seen = gls(("mask", "depth")), []
    for scale in (1.0, factor):
        weighting({"mask": torch.tensor(mask), "depth": torch.tensor(scale * depth)})
        w = weighting.weights()
        seen.append(w["depth"] * scale / w["mask"])
    assert seen[1] == pytest.approx(seen[0], rel=1e-4)


def test_a_loss_of_zero_is_left_out():
    weighting = gls(("mask", "depth"))
    assert weighting({"mask": torch.tensor(3.0), "depth": torch.tensor(0.0)}).item() == pytest.approx(3)
    assert weighting.weights() == pytest.approx({"mask": 1, "depth": 0})


def test_all_losses_zero():
    assert gls(("mask", "depth"))({"mask": torch.tensor(0.0), "depth": torch.tensor(0.0)}).item() == 0


def test_a_negative_loss_is_never_repaired():
    assert gls(("mask", "depth"))({"mask": torch.tensor(-1.0), "depth": torch.tensor(2.0)}).isnan()
