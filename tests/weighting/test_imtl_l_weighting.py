import math

import pytest
import torch

from dmx.weighting.imtl_l import imtl_l

LOSSES = {"mask": torch.tensor(2.0), "depth": torch.tensor(0.05)}


def test_by_hand():
    weighting = imtl_l(("mask", "depth"))
    assert weighting(LOSSES).item() == pytest.approx(2.05)
    with torch.no_grad():
        weighting.s.copy_(torch.tensor([math.log(3), 0.0]))
    assert weighting(LOSSES).item() == pytest.approx(6 - math.log(3) + 0.05)
    assert weighting.weights() == pytest.approx({"mask": 3, "depth": 1})


def test_learns_to_make_every_weighted_loss_1():
    weighting = imtl_l(("mask", "depth"))
    optimizer = torch.optim.Adam(weighting.parameters(), lr=0.2)
    for _ in range(200):
        optimizer.zero_grad()
        weighting(LOSSES).backward()
        optimizer.step()
    assert {task: w * LOSSES[task].item() for task, w in weighting.weights().items()} == pytest.approx(
        {"mask": 1, "depth": 1}, rel=1e-3
    )
