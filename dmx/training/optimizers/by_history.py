"""Optimizers that scale each weight's steps by what its gradients were."""

from typing import Annotated

import torch
from pydantic import Field
from torch.optim.optimizer import ParamsT

from dmx.registry import Range, optimizers
from dmx.training.optimizers.common import (
    AdaptiveRate,
    Beta,
    DecoupledDecay,
    GradientRate,
    Momentum,
    WeightDecay,
    by_timm,
)


@optimizers.register("adagrad", source="Duchi et al. 2011; torch.optim.Adagrad")
def adagrad(
    parameters: ParamsT,
    *,
    lr: GradientRate = 0.01,
    weight_decay: WeightDecay = 0.0,
) -> torch.optim.Optimizer:
    """Steps divided by the root of the sum of all squared gradients.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        weight_decay: L2 penalty, added to the gradient.
    """
    return torch.optim.Adagrad(parameters, lr=lr, weight_decay=weight_decay)


@optimizers.register("adadelta", source="Zeiler 2012; torch.optim.Adadelta")
def adadelta(
    parameters: ParamsT,
    *,
    lr: Annotated[float, Field(gt=0, le=10), Range(0.1, 10.0, log=True)] = 1.0,
    rho: Beta = 0.9,
    weight_decay: WeightDecay = 0.0,
) -> torch.optim.Optimizer:
    """Steps in proportion to the steps of late, without a unit.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        rho: Memory of squared gradients and steps.
        weight_decay: L2 penalty, added to the gradient.
    """
    return torch.optim.Adadelta(parameters, lr=lr, rho=rho, weight_decay=weight_decay)


@optimizers.register("rmsprop", source="Hinton 2012, lecture 6e; torch.optim.RMSprop")
def rmsprop(
    parameters: ParamsT,
    *,
    lr: AdaptiveRate = 1e-3,
    alpha: Beta = 0.99,
    momentum: Momentum = 0.0,
    weight_decay: WeightDecay = 0.0,
) -> torch.optim.Optimizer:
    """RMSprop: steps scaled by a running mean of the squared gradient.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        alpha: Memory of the squared gradient.
        momentum: The share of the last step that goes on.
        weight_decay: L2 penalty, added to the gradient.
    """
    return torch.optim.RMSprop(parameters, lr=lr, alpha=alpha, momentum=momentum, weight_decay=weight_decay)


@optimizers.register("adafactor", source="Shazeer and Stern 2018; torch.optim.Adafactor")
def adafactor(
    parameters: ParamsT,
    *,
    lr: AdaptiveRate = 0.01,
    weight_decay: DecoupledDecay = 0.0,
) -> torch.optim.Optimizer:
    """Squared gradients by row and column only, which saves memory.

    Args:
        parameters: What is learned.
        lr: Learning rate, relative to the size of the weights.
        weight_decay: The share of the weights that each step of learning rate 1 takes away.
    """
    return torch.optim.Adafactor(parameters, lr=lr, weight_decay=weight_decay)


@optimizers.register("madgrad", source="Defazio and Jelassi 2022; timm.optim.MADGRAD")
def madgrad(
    parameters: ParamsT,
    *,
    lr: AdaptiveRate = 1e-3,
    momentum: Annotated[float, Field(ge=0, lt=1), Range(0.5, 0.98)] = 0.9,
    weight_decay: WeightDecay = 0.0,
) -> torch.optim.Optimizer:
    """Dual averaging with momentum and the cube root of summed squares.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        momentum: The share of the last step that goes on.
        weight_decay: L2 penalty, added to the gradient.
    """
    return by_timm("MADGRAD", parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)


@optimizers.register("novograd", source="Ginsburg et al. 2019; timm.optim.NvNovoGrad")
def novograd(
    parameters: ParamsT,
    *,
    lr: AdaptiveRate = 1e-3,
    beta1: Beta = 0.95,
    beta2: Beta = 0.98,
    weight_decay: DecoupledDecay = 0.0,
) -> torch.optim.Optimizer:
    """Adam with one mean of squares for each layer.

    Args:
        parameters: What is learned.
        lr: Learning rate.
        beta1: Memory of the gradient.
        beta2: Memory of the layer's squared gradient.
        weight_decay: The share of the weights that each step of learning rate 1 takes away.
    """
    return by_timm(
        "NvNovoGrad", parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay, decoupled_decay=True
    )
