"""Schedule-free weights with batch norm: whose statistics training keeps."""

import torch
from torch import nn

from dmx.training.optimizers import sgd_schedulefree
from dmx.training.validation import averaged_weights


def test_batch_norm_keeps_the_statistics_of_the_weights_that_steps_are_made_from() -> None:
    """Which is why validation takes them anew, as the authors advise (dmx.training.batch_norm).

    A bias that falls by one each step: after 100 its average x is -50.5, the point y at which gradients are taken, with
    momentum one half, about -75. The running mean follows y, ten steps of 3/4 behind.
    """
    bias, norm = nn.Parameter(torch.zeros(1)), nn.BatchNorm1d(1, momentum=0.1)
    optimizer = sgd_schedulefree([bias], lr=1.0, momentum=0.5)
    given = torch.tensor([[-1.0], [1.0]])
    for _ in range(100):
        optimizer.zero_grad()
        out = given + bias
        norm(out)
        out.mean().backward()
        optimizer.step()
    kept = {name: value.clone() for name, value in norm.named_buffers()}
    taken = float(bias.detach())
    with averaged_weights(optimizer):
        averaged = float(bias.detach())
        assert all(torch.equal(value, kept[name]) for name, value in norm.named_buffers())
    assert float(bias.detach()) == taken
    assert abs(averaged + 50.5) < 1
    assert abs(taken + 75) < 1
    assert abs(norm.running_mean.item() - (taken + 7.5)) < 1
    assert abs(norm.running_mean.item() - averaged) > 15


def test_the_weights_are_those_of_steps_again_whatever_ends_the_validation() -> None:
    bias = nn.Parameter(torch.zeros(1))
    optimizer = sgd_schedulefree([bias], lr=1.0, momentum=0.5)
    for _ in range(3):
        bias.grad = torch.ones(1)
        optimizer.step()
    taken = bias.detach().clone()
    try:
        with averaged_weights(optimizer):
            assert not torch.equal(bias, taken)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert torch.equal(bias, taken)
