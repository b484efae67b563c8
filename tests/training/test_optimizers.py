import pytest
import torch
from torch import nn

from dmx.training.optimizers import adam, adamw, nadam, rmsprop, sgd


def one() -> nn.Parameter:
    return nn.Parameter(torch.tensor([1.0]))


def test_sgd_by_hand():
    """Gradient 2, then 2 again with 0.9 of the first step: 1 - 0.1·2 - 0.1·(2 + 0.9·2)."""
    p = one()
    optimizer = sgd([p], lr=0.1, momentum=0.9)
    for _ in range(2):
        optimizer.zero_grad()
        (2 * p).sum().backward()
        optimizer.step()
    assert p.item() == pytest.approx(1 - 0.2 - 0.38)


@pytest.mark.parametrize("build", [adam, adamw, nadam])
def test_betas_and_decay_arrive(build):
    group = build([one()], lr=0.1, beta1=0.5, beta2=0.6, weight_decay=0.2).param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.1, (0.5, 0.6), 0.2)


def test_rmsprops_parameters_arrive():
    group = rmsprop([one()], lr=0.1, alpha=0.5, momentum=0.6, weight_decay=0.2).param_groups[0]
    assert [group[name] for name in ("lr", "alpha", "momentum", "weight_decay")] == [0.1, 0.5, 0.6, 0.2]


def test_nesterov_without_momentum_is_plain_descent():
    """torch refuses the pair; a search may well draw it."""
    group = sgd([one()], momentum=0.0, nesterov=True).param_groups[0]
    assert (group["momentum"], group["nesterov"]) == (0.0, False)


def test_adamw_decays_apart_from_the_gradient():
    """Without a gradient, Adam's decay is a gradient that it normalises; AdamW takes lr · decay of the weight."""
    p = one()
    optimizer = adamw([p], lr=0.1, weight_decay=0.5)
    p.grad = torch.zeros(1)
    optimizer.step()
    assert p.item() == pytest.approx(0.95)
