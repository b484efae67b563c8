import math

import pytest
import torch

from dmx.weighting.dwa import dwa


def epoch(weighting, *steps):
    for mask, depth in steps:
        weighting({"mask": torch.tensor(mask), "depth": torch.tensor(depth)})
    weighting.epoch_ended()


def weights(weighting):
    """Seen in a first step of the next epoch."""
    weighting({"mask": torch.tensor(1.0), "depth": torch.tensor(1.0)})
    return weighting.weights()


def test_by_hand():
    """Means 4 -> 1 and 2 -> 2: w = (1/4, 1), and λ = 2 softmax(w / 2)."""
    weighting = dwa(("mask", "depth"))
    epoch(weighting, (3.0, 1.0), (5.0, 3.0))
    epoch(weighting, (1.0, 2.0))
    z = math.exp(1 / 8) + math.exp(1 / 2)
    assert weights(weighting) == pytest.approx({"mask": 2 * math.exp(1 / 8) / z, "depth": 2 * math.exp(1 / 2) / z})


def test_is_equal_in_the_first_two_epochs():
    weighting = dwa(("mask", "depth"))
    for mask in (5.0, 3.0):
        assert weights(weighting) == {"mask": 1, "depth": 1}
        epoch(weighting, (mask, 1.0))
    assert weights(weighting)["mask"] < 1


def test_stays_within_an_epoch():
    weighting = dwa(("mask", "depth"))
    epoch(weighting, (4.0, 2.0))
    epoch(weighting, (1.0, 2.0))
    first = weights(weighting)
    weighting({"mask": torch.tensor(100.0), "depth": torch.tensor(0.1)})
    assert weighting.weights() == first


def test_follows_naive_bookkeeping_over_many_epochs():
    T, history, weighting = 0.7, [], dwa(("mask", "depth"), temperature=0.7)
    generator = torch.Generator().manual_seed(0)
    for t in range(6):
        losses = torch.rand(3, 2, generator=generator) + 0.1
        ratios = [history[t - 1][k] / history[t - 2][k] if t >= 2 else 1.0 for k in range(2)]
        total = sum(math.exp(r / T) for r in ratios)
        for mask, depth in losses:
            value = weighting({"mask": mask, "depth": depth})
            lam = [2 * math.exp(r / T) / total for r in ratios]
            assert list(weighting.weights().values()) == pytest.approx(lam, rel=1e-5)
            assert value.item() == pytest.approx(lam[0] * mask.item() + lam[1] * depth.item(), rel=1e-5)
        weighting.epoch_ended()
        history.append(losses.double().mean(0).tolist())


def test_an_epoch_without_steps_changes_nothing():
    weighting = dwa(("mask", "depth"))
    epoch(weighting, (4.0, 2.0))
    weighting.epoch_ended()
    epoch(weighting, (1.0, 2.0))
    assert weights(weighting)["depth"] > 1.1  # by hand above: the ratio is to the epoch that had steps


def test_a_task_that_has_come_to_zero_counts_as_not_falling():
    weighting = dwa(("mask", "depth"))
    epoch(weighting, (0.0, 2.0))
    epoch(weighting, (0.0, 2.0))
    assert weights(weighting) == {"mask": 1, "depth": 1}
