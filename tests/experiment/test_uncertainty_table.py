"""The sentences beneath the numbers of the uncertainty: each says what its number says."""

import pytest
import torch
from torch import Tensor

from dmx.experiment.uncertainty_table import rated
from dmx.metrics.uncertainty import Uncertainty
from dmx.quartet import Batch, Prediction
from dmx.sample_table import SampleTable

PICTURES = 6
GENERATOR = torch.Generator().manual_seed(0)
SPREAD = torch.rand(PICTURES, 1, 50, 50, generator=GENERATOR) + 0.1
ERRORS = SPREAD * torch.randn(SPREAD.shape, generator=GENERATOR)


def said(spread: Tensor, errors: Tensor = ERRORS, groups: int = PICTURES) -> str:
    """The sentences of pictures with these errors of depth, and no object."""
    true, nothing = torch.full_like(errors, 5), torch.zeros_like(errors)
    ids = tuple(map(str, range(len(errors))))
    known = torch.ones_like(errors, dtype=torch.bool)
    batch = Batch(ids, nothing.expand(-1, 3, -1, -1), None, nothing, known, true, known)
    found = Uncertainty()
    found.take(Prediction(torch.full_like(true, -torch.inf), true + errors), nothing, spread, batch)
    return "\n".join(rated(found, SampleTable(ids, [str(i % groups) for i in range(len(ids))], {}, {})))


def test_a_spread_of_the_size_of_normal_errors_is_said_to_be_right() -> None:
    lines = said(SPREAD).splitlines()
    assert lines[0].startswith("Depth: the uncertainty orders errors better than chance; it gains ")
    assert lines[1].startswith("Depth: the standard deviations have the size of the errors (a factor of ")
    assert lines[2] == "Depth: the intervals hold what they promise; 95 % intervals hold 95 % of the depths."
    assert len(lines) == 3  # the mask has no errors


@pytest.mark.parametrize(("by", "size", "width"), [(4, "small", "narrow"), (1 / 4, "large", "wide")])
def test_a_spread_of_another_size_is_said_to_be_off_by_its_factor(by: float, size: str, width: str) -> None:
    _, of_size, of_intervals = said(SPREAD / by).splitlines()
    assert of_size.startswith(f"Depth: the standard deviations are too {size}, by a factor of ")
    assert float(of_size.rpartition(" ")[2].rstrip(".")) == pytest.approx(4, rel=0.02)
    assert of_intervals.startswith(f"Depth: the intervals are too {width}; 95 % intervals hold ")


def test_the_order_is_judged_by_its_interval_over_groups() -> None:
    chance = torch.rand(SPREAD.shape, generator=GENERATOR)
    assert "Depth: that the uncertainty orders errors better than chance is not shown; here it gains " in said(chance)
    assert "Depth: the uncertainty orders errors worse than chance; " in said(1 / SPREAD)
    assert "better than chance takes two groups; here it gains " in said(SPREAD, groups=1)
    assert "Depth: the uncertainty orders errors better than chance" in said(SPREAD, groups=2)


def test_the_gain_is_that_of_the_numbers() -> None:
    errors = torch.arange(1, 21, dtype=torch.float32).reshape(1, 1, 1, 20).repeat(2, 1, 1, 1)
    assert "it gains 100 % of what the best order would." in said(errors.clone(), errors)
    alike = torch.ones_like(errors)
    assert "is not shown; here no order gains anything." in said(alike, alike)
