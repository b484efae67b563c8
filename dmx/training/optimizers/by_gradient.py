"""Optimizers that step along the gradient."""

from typing import Annotated

import torch
from pydantic import Field
from torch.optim.optimizer import ParamsT

from dmx.registry import optimizers
from dmx.training.optimizers.common import AdaptiveRate, GradientRate, Momentum, WeightDecay, by_timm


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


@optimizers.register("asgd", source="Polyak and Juditsky 1992; torch.optim.ASGD")
def asgd(
    parameters: ParamsT,
    *,
    lr: GradientRate = 0.01,
    weight_decay: WeightDecay = 0.0,
) -> torch.optim.Optimizer:
    """SGD that keeps a running mean of the weights beside them.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        weight_decay: L2 penalty, added to the gradient.
    """
    return torch.optim.ASGD(parameters, lr=lr, weight_decay=weight_decay)


@optimizers.register("rprop", source="Riedmiller and Braun 1993; torch.optim.Rprop")
def rprop(
    parameters: ParamsT,
    *,
    lr: AdaptiveRate = 1e-3,
    grow: Annotated[float, Field(gt=1, le=2)] = 1.2,
    shrink: Annotated[float, Field(gt=0, lt=1)] = 0.5,
) -> torch.optim.Optimizer:
    """Steps by the sign of the gradient, of a length of each weight's own; meant for batches of the whole data.

    Args:
        parameters: What is learned.
        lr: The first length of all steps.
        grow: What a length is multiplied by while the sign stays.
        shrink: What it is multiplied by when the sign changes.
    """
    return torch.optim.Rprop(parameters, lr=lr, etas=(shrink, grow))
