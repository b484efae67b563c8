"""Optimizers that step along the gradient."""

import torch
from torch.optim.optimizer import ParamsT

from dmx.registry import optimizers
from dmx.training.optimizers.common import GradientRate, Momentum, WeightDecay, by_timm


@optimizers.register("sgd", source="Sutskever et al. 2013; torch.optim.SGD")
def sgd(
    parameters: ParamsT,
    *,
    lr: GradientRate = 0.01,
    momentum: Momentum = 0.9,
    weight_decay: WeightDecay = 0.0,
    nesterov: bool = False,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        momentum: The share of the last step that goes on.
        weight_decay: L2 penalty, added to the gradient.
        nesterov: Look ahead along the momentum; without momentum it changes nothing.
    """
    return torch.optim.SGD(
        parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov and momentum > 0
    )


@optimizers.register("sgdp", source="Heo et al. 2021 (AdamP); timm.optim.SGDP")
def sgdp(
    parameters: ParamsT,
    *,
    lr: GradientRate = 0.01,
    momentum: Momentum = 0.9,
    weight_decay: WeightDecay = 0.0,
) -> torch.optim.Optimizer:
    """SGD without the part of a step that only makes scale-invariant weights longer.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        momentum: The share of the last step that goes on.
        weight_decay: Taken from the weights apart from the gradient.
    """
    return by_timm("SGDP", parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=momentum > 0)
